#ifndef MARTLET_WEB_PAGES_H
#define MARTLET_WEB_PAGES_H

#include <stddef.h>

/* The files of the web pages, as parts of the program, so that it needs nothing beside itself. */
struct martlet_web_file {
  /* "Chat" or "Console". */
  const char *_Nonnull folder;
  const char *_Nonnull name;
  const unsigned char *_Nonnull bytes;
  size_t count;
};

extern const struct martlet_web_file martlet_web_files[];
extern const size_t martlet_web_file_count;

/* C arrays without a size are not imported into Swift. */
static inline struct martlet_web_file martlet_web_file_at(size_t index) {
  return martlet_web_files[index];
}

/* Compresses into gzip's format (RFC 1952). Returns the bytes written; 0 when they do not fit. */
size_t martlet_web_gzip(const unsigned char *_Nonnull input, size_t count,
                        unsigned char *_Nonnull output, size_t capacity);

#endif
