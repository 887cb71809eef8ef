/* script_head.c - see script_head.h. A field that could smuggle something into the answer, and a block that
 * two readers could understand in two ways, are errors: here they can be told to the script's author. */
#include "script_head.h"

#include <string.h>

#include "field.h"

enum { STATUS_DIGITS = 3, STATUS_FIRST = 200, STATUS_LAST = 599 };

struct field {
    const char *name;
    size_t name_len;
    const char *value; /* without surrounding blanks */
    size_t value_len;
};

struct block {
    struct script_head *head;
    struct field status;
    bool redirects; /* there is a Location */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* NULL, or what is wrong with the line. */
static const char *split(const char *line, size_t len, struct field *f)
{
    const char *colon = memchr(line, ':', len);
    const char *end = line + len;

    if (colon == NULL)
        return "a header line has no colon";
    f->name = line;
    f->name_len = (size_t)(colon - line);
    if (!field_is_token(f->name, f->name_len))
        return "a header line has a name with characters that are not allowed";
    f->value = colon + 1;
    while (f->value < end && is_blank(*f->value))
        f->value++;
    while (f->value < end && is_blank(end[-1]))
        end--;
    f->value_len = (size_t)(end - f->value);
    return field_is_value(f->value, f->value_len) ? NULL : "a header line has control characters";
}

static const char *take_status(struct block *b, const struct field *f)
{
    unsigned code = 0;

    for (size_t i = 0; i < STATUS_DIGITS && i < f->value_len && f->value[i] >= '0' && f->value[i] <= '9'; i++)
        code = code * 10 + (unsigned)(f->value[i] - '0');
    bool ends = f->value_len == STATUS_DIGITS || (f->value_len > STATUS_DIGITS && is_blank(f->value[3]));
    if (!ends || code < STATUS_FIRST || code > STATUS_LAST)
        return "Status is not a number from 200 to 599";
    if (b->status.name != NULL)
        return "there are two Status lines";
    b->head->status = code;
    b->status = *f;
    return NULL;
}

static const char *take_length(struct block *b, const struct field *f)
{
    if (b->head->declared != -1)
        return "there are two Content-Length lines";
    b->head->declared = field_length(f->value, f->value_len);
    return b->head->declared != -1 ? NULL : "Content-Length is no length";
}

static bool put(struct script_head *head, const char *data, size_t len)
{
    return buffer_append(&head->out, data, len);
}

static bool put_field(struct script_head *head, const struct field *f)
{
    return put(head, f->name, f->name_len) && put(head, ": ", 2) && put(head, f->value, f->value_len) &&
           put(head, "\r\n", 2);
}

/* Status comes first in what we write, wherever it stands in the block: so once over all lines to look, and
 * once to write. */
static const char *take_line(struct block *b, const char *line, size_t len, bool write)
{
    static const char cgitb[] = "<!--: spam"; /* begins its page: a header if none has come, or a comment */
    struct field f;

    if (len == sizeof(cgitb) - 1 && memcmp(line, cgitb, len) == 0)
        return NULL;
    const char *error = split(line, len, &f);
    if (error != NULL)
        return error;
    if (write)
        return field_is_named(f.name, f.name_len, "status") || put_field(b->head, &f)
                   ? NULL
                   : "the header block is too long";
    if (field_is_named(f.name, f.name_len, "status"))
        return take_status(b, &f);
    if (field_is_named(f.name, f.name_len, "location"))
        b->redirects = f.value_len > 0;
    return field_is_named(f.name, f.name_len, "content-length") ? take_length(b, &f) : NULL;
}

static const char *take_lines(struct block *b, const char *data, size_t len, bool write)
{
    const char *error = NULL;

    for (size_t at = 0; error == NULL && at < len;) {
        const char *feed = memchr(data + at, '\n', len - at);
        size_t next = (size_t)(feed - data) + 1;
        size_t end = next - 1 > at && data[next - 2] == '\r' ? next - 2 : next - 1;
        error = take_line(b, data + at, end - at, write);
        at = next;
    }
    return error;
}

static bool put_status(struct block *b)
{
    static const char found[] = "302 Found";
    static const char ok[] = "200 OK";
    const char *text = b->redirects ? found : ok;
    size_t len = strlen(text);

    if (b->status.name != NULL) {
        text = b->status.value;
        len = b->status.value_len;
    } else {
        b->head->status = b->redirects ? 302 : 200;
    }
    return put(b->head, "Status: ", 8) && put(b->head, text, len) && put(b->head, "\r\n", 2);
}

/* The length of the lines before the empty line, or -1: it has not come yet. */
static long long find_end(const char *data, size_t len, size_t *size)
{
    for (size_t at = 0; at < len;) {
        const char *feed = memchr(data + at, '\n', len - at);
        if (feed == NULL)
            return -1;
        size_t next = (size_t)(feed - data) + 1;
        if (next - at == 1 || (next - at == 2 && data[at] == '\r')) {
            *size = next;
            return (long long)at;
        }
        at = next;
    }
    return -1;
}

enum script_head_state script_head_parse(struct script_head *head, const char *data, size_t len)
{
    struct block b = {.head = head};
    long long end = find_end(data, len, &head->size);

    if (end == -1)
        return SCRIPT_HEAD_MORE;
    head->declared = -1;
    head->error = end == 0 ? "it begins with an empty line" : take_lines(&b, data, (size_t)end, false);
    if (head->error == NULL && !put_status(&b))
        head->error = "the header block is too long";
    if (head->error == NULL)
        head->error = take_lines(&b, data, (size_t)end, true);
    if (head->error == NULL && !put(head, "\r\n", 2))
        head->error = "the header block is too long";
    return head->error == NULL ? SCRIPT_HEAD_DONE : SCRIPT_HEAD_BAD;
}
