/* control.c - the control channel to the gateway. Plain C: it may be called with or without the GIL. */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { TRIES = 200 }; /* to send a message, a millisecond apart */

bool control_is_channel(int fd)
{
    int domain = 0;
    int type = 0;
    socklen_t domain_len = sizeof(domain);
    socklen_t type_len = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_SEQPACKET;
}

/* Waits for what is a shortage of the kernel's memory, by errno. A message must not be lost by it: nobody
 * asks for a READY again. */
static bool passes(int *tries)
{
    if ((errno != ENOBUFS && errno != ENOMEM) || *tries == 0)
        return false;
    --*tries;
    (void)poll(NULL, 0, 1);
    return true;
}

bool control_send(int fd, const char *text, size_t len)
{
    if (fd == -1)
        return true;
    if (len > CONTROL_MESSAGE_MAX) {
        errno = EMSGSIZE;
        return false;
    }
    ssize_t sent;
    int tries = TRIES;
    do {
        sent = send(fd, text, len, MSG_NOSIGNAL);
    } while (sent == -1 && (errno == EINTR || passes(&tries)));
    return sent != -1;
}

bool control_say(int fd, const char *text)
{
    return control_send(fd, text, strlen(text));
}

int control_slot(const char *text, const char *word)
{
    size_t len = strlen(word);
    char *end = NULL;

    if (strncmp(text, word, len) != 0 || text[len] != ' ' || text[len + 1] < '0' || text[len + 1] > '9')
        return -1;
    unsigned long number = strtoul(text + len + 1, &end, 10);
    return *end == '\0' && number <= UINT16_MAX ? (int)number : -1;
}

/* What a message says. */
static enum control_event understand(const char *text, uint16_t *slot)
{
    if (strcmp(text, "STOP") == 0)
        return CONTROL_STOP;
    int cancelled = control_slot(text, "CANCEL");
    int shown = control_slot(text, "STACK");
    if (cancelled == -1 && shown == -1)
        return CONTROL_NOTHING;
    *slot = (uint16_t)(cancelled != -1 ? cancelled : shown);
    return cancelled != -1 ? CONTROL_CANCEL : CONTROL_STACK;
}

enum control_event control_receive(int fd, uint16_t *slot)
{
    char text[32]; /* longer than any message that we know */
    ssize_t n;

    while ((n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
        text[n] = '\0';
        enum control_event event = strlen(text) == (size_t)n ? understand(text, slot) : CONTROL_NOTHING;
        if (event != CONTROL_NOTHING)
            return event;
    }
    return n == -1 && (errno == EAGAIN || errno == EINTR) ? CONTROL_NOTHING : CONTROL_STOP;
}
