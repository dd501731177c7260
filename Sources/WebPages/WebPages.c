#include "WebPages.h"

#include <string.h>
#include <zlib.h>

#pragma clang diagnostic ignored "-Wc23-extensions"

/* 15 bits of window, and 16 for gzip's frame instead of zlib's. */
#define GZIP_WINDOW_BITS (15 + 16)

size_t martlet_web_gzip(const unsigned char *input, size_t count, unsigned char *output,
                        size_t capacity) {
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS, 9,
                   Z_DEFAULT_STRATEGY) != Z_OK)
    return 0;
  stream.next_in = (unsigned char *)input;
  stream.avail_in = (unsigned)count;
  stream.next_out = output;
  stream.avail_out = (unsigned)capacity;
  const int result = deflate(&stream, Z_FINISH);
  const size_t written = stream.total_out;
  deflateEnd(&stream);
  return result == Z_STREAM_END ? written : 0;
}

static const unsigned char chat_chat_bubbles_js[] = {
#embed "Chat/chat-bubbles.js"
};
static const unsigned char chat_chat_composer_js[] = {
#embed "Chat/chat-composer.js"
};
static const unsigned char chat_chat_conversation_js[] = {
#embed "Chat/chat-conversation.js"
};
static const unsigned char chat_chat_dialogs_js[] = {
#embed "Chat/chat-dialogs.js"
};
static const unsigned char chat_chat_dom_js[] = {
#embed "Chat/chat-dom.js"
};
static const unsigned char chat_chat_heights_js[] = {
#embed "Chat/chat-heights.js"
};
static const unsigned char chat_chat_list_js[] = {
#embed "Chat/chat-list.js"
};
static const unsigned char chat_chat_login_js[] = {
#embed "Chat/chat-login.js"
};
static const unsigned char chat_chat_messages_js[] = {
#embed "Chat/chat-messages.js"
};
static const unsigned char chat_chat_rows_js[] = {
#embed "Chat/chat-rows.js"
};
static const unsigned char chat_chat_screen_js[] = {
#embed "Chat/chat-screen.js"
};
static const unsigned char chat_chat_text_js[] = {
#embed "Chat/chat-text.js"
};
static const unsigned char chat_chat_css[] = {
#embed "Chat/chat.css"
};
static const unsigned char chat_chat_js[] = {
#embed "Chat/chat.js"
};
static const unsigned char chat_icon_svg[] = {
#embed "Chat/icon.svg"
};
static const unsigned char chat_index_html[] = {
#embed "Chat/index.html"
};
static const unsigned char chat_martlet_connection_js[] = {
#embed "Chat/martlet-connection.js"
};
static const unsigned char chat_martlet_conversations_js[] = {
#embed "Chat/martlet-conversations.js"
};
static const unsigned char chat_martlet_journal_js[] = {
#embed "Chat/martlet-journal.js"
};
static const unsigned char chat_martlet_link_js[] = {
#embed "Chat/martlet-link.js"
};
static const unsigned char chat_martlet_log_js[] = {
#embed "Chat/martlet-log.js"
};
static const unsigned char chat_martlet_outbox_js[] = {
#embed "Chat/martlet-outbox.js"
};
static const unsigned char chat_martlet_protocol_js[] = {
#embed "Chat/martlet-protocol.js"
};
static const unsigned char chat_martlet_replica_js[] = {
#embed "Chat/martlet-replica.js"
};
static const unsigned char chat_martlet_session_js[] = {
#embed "Chat/martlet-session.js"
};
static const unsigned char chat_martlet_store_js[] = {
#embed "Chat/martlet-store.js"
};
static const unsigned char chat_martlet_tabs_js[] = {
#embed "Chat/martlet-tabs.js"
};
static const unsigned char chat_martlet_js[] = {
#embed "Chat/martlet.js"
};
static const unsigned char console_console_data_js[] = {
#embed "Console/console-data.js"
};
static const unsigned char console_console_dom_js[] = {
#embed "Console/console-dom.js"
};
static const unsigned char console_console_list_js[] = {
#embed "Console/console-list.js"
};
static const unsigned char console_console_model_js[] = {
#embed "Console/console-model.js"
};
static const unsigned char console_console_moves_js[] = {
#embed "Console/console-moves.js"
};
static const unsigned char console_console_nodes_js[] = {
#embed "Console/console-nodes.js"
};
static const unsigned char console_console_partitions_js[] = {
#embed "Console/console-partitions.js"
};
static const unsigned char console_console_plots_js[] = {
#embed "Console/console-plots.js"
};
static const unsigned char console_console_problems_js[] = {
#embed "Console/console-problems.js"
};
static const unsigned char console_console_ring_js[] = {
#embed "Console/console-ring.js"
};
static const unsigned char console_console_css[] = {
#embed "Console/console.css"
};
static const unsigned char console_console_js[] = {
#embed "Console/console.js"
};
static const unsigned char console_icon_svg[] = {
#embed "Console/icon.svg"
};
static const unsigned char console_index_html[] = {
#embed "Console/index.html"
};

const struct martlet_web_file martlet_web_files[] = {
  {"Chat", "chat-bubbles.js", chat_chat_bubbles_js, sizeof chat_chat_bubbles_js},
  {"Chat", "chat-composer.js", chat_chat_composer_js, sizeof chat_chat_composer_js},
  {"Chat", "chat-conversation.js", chat_chat_conversation_js, sizeof chat_chat_conversation_js},
  {"Chat", "chat-dialogs.js", chat_chat_dialogs_js, sizeof chat_chat_dialogs_js},
  {"Chat", "chat-dom.js", chat_chat_dom_js, sizeof chat_chat_dom_js},
  {"Chat", "chat-heights.js", chat_chat_heights_js, sizeof chat_chat_heights_js},
  {"Chat", "chat-list.js", chat_chat_list_js, sizeof chat_chat_list_js},
  {"Chat", "chat-login.js", chat_chat_login_js, sizeof chat_chat_login_js},
  {"Chat", "chat-messages.js", chat_chat_messages_js, sizeof chat_chat_messages_js},
  {"Chat", "chat-rows.js", chat_chat_rows_js, sizeof chat_chat_rows_js},
  {"Chat", "chat-screen.js", chat_chat_screen_js, sizeof chat_chat_screen_js},
  {"Chat", "chat-text.js", chat_chat_text_js, sizeof chat_chat_text_js},
  {"Chat", "chat.css", chat_chat_css, sizeof chat_chat_css},
  {"Chat", "chat.js", chat_chat_js, sizeof chat_chat_js},
  {"Chat", "icon.svg", chat_icon_svg, sizeof chat_icon_svg},
  {"Chat", "index.html", chat_index_html, sizeof chat_index_html},
  {"Chat", "martlet-connection.js", chat_martlet_connection_js, sizeof chat_martlet_connection_js},
  {"Chat", "martlet-conversations.js", chat_martlet_conversations_js, sizeof chat_martlet_conversations_js},
  {"Chat", "martlet-journal.js", chat_martlet_journal_js, sizeof chat_martlet_journal_js},
  {"Chat", "martlet-link.js", chat_martlet_link_js, sizeof chat_martlet_link_js},
  {"Chat", "martlet-log.js", chat_martlet_log_js, sizeof chat_martlet_log_js},
  {"Chat", "martlet-outbox.js", chat_martlet_outbox_js, sizeof chat_martlet_outbox_js},
  {"Chat", "martlet-protocol.js", chat_martlet_protocol_js, sizeof chat_martlet_protocol_js},
  {"Chat", "martlet-replica.js", chat_martlet_replica_js, sizeof chat_martlet_replica_js},
  {"Chat", "martlet-session.js", chat_martlet_session_js, sizeof chat_martlet_session_js},
  {"Chat", "martlet-store.js", chat_martlet_store_js, sizeof chat_martlet_store_js},
  {"Chat", "martlet-tabs.js", chat_martlet_tabs_js, sizeof chat_martlet_tabs_js},
  {"Chat", "martlet.js", chat_martlet_js, sizeof chat_martlet_js},
  {"Console", "console-data.js", console_console_data_js, sizeof console_console_data_js},
  {"Console", "console-dom.js", console_console_dom_js, sizeof console_console_dom_js},
  {"Console", "console-list.js", console_console_list_js, sizeof console_console_list_js},
  {"Console", "console-model.js", console_console_model_js, sizeof console_console_model_js},
  {"Console", "console-moves.js", console_console_moves_js, sizeof console_console_moves_js},
  {"Console", "console-nodes.js", console_console_nodes_js, sizeof console_console_nodes_js},
  {"Console", "console-partitions.js", console_console_partitions_js, sizeof console_console_partitions_js},
  {"Console", "console-plots.js", console_console_plots_js, sizeof console_console_plots_js},
  {"Console", "console-problems.js", console_console_problems_js, sizeof console_console_problems_js},
  {"Console", "console-ring.js", console_console_ring_js, sizeof console_console_ring_js},
  {"Console", "console.css", console_console_css, sizeof console_console_css},
  {"Console", "console.js", console_console_js, sizeof console_console_js},
  {"Console", "icon.svg", console_icon_svg, sizeof console_icon_svg},
  {"Console", "index.html", console_index_html, sizeof console_index_html},
};
const size_t martlet_web_file_count = sizeof martlet_web_files / sizeof martlet_web_files[0];
