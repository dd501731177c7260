#ifndef MARTLET_LOADTEST_HTTP2_SHIM_H
#define MARTLET_LOADTEST_HTTP2_SHIM_H

#include <nghttp2/nghttp2.h>

#endif
