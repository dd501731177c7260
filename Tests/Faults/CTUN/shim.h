#ifndef MARTLET_CTUN_SHIM_H
#define MARTLET_CTUN_SHIM_H

// Calls of Linux that Swift's Glibc does not have, as the manual pages declare them: setns(2),
// ppoll(2).

#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

extern int setns(int descriptor, int type);
extern int ppoll(struct pollfd *descriptors, nfds_t count, const struct timespec *timeout,
                 const void *signals);

#define SHIM_CLONE_NEWNET 0x40000000

// A macro of macros, which Swift does not see.
static inline unsigned long shim_TUNSETIFF(void) { return TUNSETIFF; }

#endif
