/* notify.h - tells the service manager how the gateway is, as sd_notify(3) does, without its library.
 *
 * Without $NOTIFY_SOCKET nothing of this does anything. */
#ifndef LEANGATE_NOTIFY_H
#define LEANGATE_NOTIFY_H

#include <stdint.h>

/* Opens $NOTIFY_SOCKET, before privileges are dropped, and begins to send WATCHDOG=1 in half the time of
 * $WATCHDOG_USEC if that is meant for this process. Removes these variables: they are for nobody else. A
 * socket that cannot be used is a warning. */
void notify_open(void);
void notify_close(void);

/* Serving, with these numbers; also the end of a reload. */
void notify_ready(uint32_t apps, uint32_t workers);

/* The configuration is being read again; notify_ready follows, whatever comes of it. */
void notify_reloading(void);

/* Finishing what is under way. */
void notify_stopping(void);

/* The numbers of the status line; nothing is sent while they stay as they are, or once it is stopping. */
void notify_numbers(uint32_t apps, uint32_t workers);

#endif
