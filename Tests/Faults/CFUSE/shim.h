#ifndef MARTLET_CFUSE_SHIM_H
#define MARTLET_CFUSE_SHIM_H

// The version of the interface that is asked for must be known before libfuse's headers are read.
#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>

// A macro with arguments, which Swift does not see.
static inline int shim_fuse_session_loop_mt(struct fuse_session *session,
                                            struct fuse_loop_config *config) {
  return fuse_session_loop_mt(session, config);
}

#endif
