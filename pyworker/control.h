/* control.h - the control channel to the gateway: a unix SOCK_SEQPACKET socket, one message per packet. */
#ifndef PYWORKER_CONTROL_H
#define PYWORKER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONTROL_FD = 3,             /* where the gateway leaves it */
    CONTROL_MESSAGE_MAX = 16384 /* bytes of one message, either way */
};

enum control_event {
    CONTROL_NOTHING, /* there is none */
    CONTROL_CANCEL,  /* CANCEL slot */
    CONTROL_STACK,   /* STACK slot */
    CONTROL_STOP     /* STOP, or the gateway is gone */
};

/* Whether `fd` is a control channel: a unix socket of type SOCK_SEQPACKET. */
bool control_is_channel(int fd);

/* Sends one message, waiting for room; true without a channel (fd -1). False: errno says why. */
bool control_send(int fd, const char *text, size_t len);

/* The same for a text that ends with a NUL byte. */
bool control_say(int fd, const char *text);

/* What a message says of a slot: the number behind `word` and a blank, 0 to 65535; -1: it is another one. */
int control_slot(const char *text, const char *word);

/* Takes the next message that we know, without waiting; `slot` if it has one. */
enum control_event control_receive(int fd, uint16_t *slot);

#endif
