/* inherit.h - the descriptors that a worker is started with. */
#ifndef PYWORKER_INHERIT_H
#define PYWORKER_INHERIT_H

#include <stdbool.h>

/* Takes fd 3 over if it is a control channel: returns 3, or -1 if it is something else. */
int inherit_control(void);

/* Takes over `listener`, or fd 0 if that is -1, and puts /dev/null onto fd 0, so that the app's subprocesses
 * do not have the listening socket as their input. Returns it, non-blocking; -1: errno, ENOTSOCK if fd 0 is
 * no listening socket. */
int inherit_listener(int listener);

/* Puts /dev/null onto fd 0, whatever that is now. False: errno. */
bool inherit_null_stdin(void);

#endif
