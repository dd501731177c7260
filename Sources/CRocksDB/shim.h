#ifndef MARTLET_CROCKSDB_SHIM_H
#define MARTLET_CROCKSDB_SHIM_H

/* RocksDB's C interface (7.8); it has no function-like macros, so nothing is wrapped here. */
#include <rocksdb/c.h>

#endif
