/* control.c - see control.h. */
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "memory.h"

enum { MESSAGE_MAX = 16 * 1024 }; /* bytes of one message */

static const struct {
    const char *word;
    enum control_type type;
} words[] = {
    {"START",    CONTROL_START },
    {"READY ",   CONTROL_READY },
    {"FAILED\n", CONTROL_FAILED},
    {"NOTE ",    CONTROL_NOTE  },
    {"LIVE ",    CONTROL_LIVE  }
};

static bool parse_kind(const char *word, enum conf_kind *kind)
{
    for (*kind = CONF_KIND_WSGI; *kind <= CONF_KIND_FILES; ++*kind)
        if (strcmp(conf_kind_name(*kind), word) == 0)
            return true;
    return false;
}

/* "kind mode concurrency import_us" */
static enum control_type parse_ready(struct control_message *m)
{
    char kind[16], mode[16];
    unsigned concurrency;
    long long import_us;
    if (sscanf(m->text, "%15s %15s %u %lld", kind, mode, &concurrency, &import_us) != 4 || concurrency == 0 ||
        concurrency > 65535 || import_us < 0 || !parse_kind(kind, &m->kind))
        return CONTROL_NONSENSE;
    m->fork = strcmp(mode, "fork") == 0;
    if (!m->fork && strcmp(mode, "persistent") != 0)
        return CONTROL_NONSENSE;
    m->concurrency = concurrency;
    m->import_us = import_us;
    return CONTROL_READY;
}

static void parse(struct control_message *m)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t n = strlen(words[i].word);
        if (strncmp(m->text, words[i].word, n) != 0)
            continue;
        m->text += n;
        m->type = words[i].type == CONTROL_READY ? parse_ready(m) : words[i].type;
        return;
    }
    m->type = CONTROL_NONSENSE;
}

void control_receive(int fd, struct control_message *m)
{
    ssize_t n;
    *m = (struct control_message){.type = CONTROL_NOTHING, .text = memory_scratch};
    do
        n = recv(fd, memory_scratch, MESSAGE_MAX, MSG_DONTWAIT);
    while (n == -1 && errno == EINTR);
    if (n > 0) {
        memory_scratch[n] = '\0';
        parse(m);
    } else if (n == 0 || errno != EAGAIN) {
        m->type = CONTROL_END;
    }
}

bool control_send(int fd, const char *text)
{
    ssize_t n;
    do
        n = send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n == -1 && errno == EINTR);
    return n != -1;
}
