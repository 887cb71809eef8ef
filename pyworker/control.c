/* control.c - the control channel to the gateway. Plain C: it may be called with or without the GIL. */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

bool control_is_channel(int fd)
{
    int domain = 0;
    int type = 0;
    socklen_t domain_len = sizeof(domain);
    socklen_t type_len = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_SEQPACKET;
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
    do {
        sent = send(fd, text, len, MSG_NOSIGNAL);
    } while (sent == -1 && errno == EINTR);
    return sent != -1;
}

/* Whether the text is `word`, a blank and the number of a slot. */
static bool names_slot(const char *text, const char *word, uint16_t *slot)
{
    size_t len = strlen(word);
    char *end = NULL;

    if (strncmp(text, word, len) != 0 || text[len] < '0' || text[len] > '9')
        return false;
    unsigned long number = strtoul(text + len, &end, 10);
    *slot = (uint16_t)number;
    return *end == '\0' && number <= UINT16_MAX;
}

enum control_event control_receive(int fd, uint16_t *slot)
{
    char text[32]; /* longer than any message that we know */
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n == -1)
        return errno == EAGAIN || errno == EINTR ? CONTROL_NOTHING : CONTROL_STOP;
    if (n == 0)
        return CONTROL_STOP;
    text[n] = '\0';
    if (strlen(text) != (size_t)n)
        return CONTROL_NOTHING;
    if (strcmp(text, "STOP") == 0)
        return CONTROL_STOP;
    if (names_slot(text, "CANCEL ", slot))
        return CONTROL_CANCEL;
    return names_slot(text, "STACK ", slot) ? CONTROL_STACK : CONTROL_NOTHING;
}
