/* json.c - see json.h. */
#include "json.h"

/* The second byte alone can make a three- or four-byte form overlong, a surrogate or too large. */
static bool second_fits(unsigned char first, unsigned char second)
{
    switch (first) {
    case 0xe0:
        return second >= 0xa0;
    case 0xed:
        return second < 0xa0;
    case 0xf0:
        return second >= 0x90;
    case 0xf4:
        return second < 0x90;
    default:
        return true;
    }
}

size_t json_utf8(const char *text, size_t len)
{
    unsigned char first = len > 0 ? (unsigned char)text[0] : 0xff;
    if (first < 0x80)
        return 1;
    size_t n = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || n > len || !second_fits(first, (unsigned char)text[1]))
        return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* Appends what stands at the front of text; *taken: how many bytes that was. */
static bool put_one(struct buf *out, const char *text, size_t len, size_t *taken)
{
    unsigned char c = (unsigned char)text[0];
    *taken = 1;
    if (c == '"' || c == '\\')
        return buf_putc(out, '\\') && buf_putc(out, (char)c);
    if (c == '\n')
        return buf_puts(out, "\\n");
    if (c < 0x20 || c == 0x7f)
        return buf_printf(out, "\\u%04x", c);
    size_t n = json_utf8(text, len);
    if (n == 0)
        return buf_puts(out, "\xef\xbf\xbd");
    *taken = n;
    if (n == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0) /* control characters, which terminals obey */
        return buf_printf(out, "\\u%04x", (unsigned char)text[1]);
    return buf_put(out, text, n);
}

/* Bytes that stand for themselves. */
static size_t plain_run(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\')
        n++;
    return n;
}

bool json_string(struct buf *out, const char *text, size_t len)
{
    bool ok = buf_putc(out, '"');
    while (ok && len > 0) {
        size_t n = plain_run(text, len);
        if (n > 0)
            ok = buf_put(out, text, n);
        else
            ok = put_one(out, text, len, &n);
        text += n;
        len -= n;
    }
    return ok && buf_putc(out, '"');
}
