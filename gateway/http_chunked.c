/* http_chunked.c - see http_chunked.h.
 *
 * One const table: (state, class of the byte) -> next state; what is not in it is BAD. Grammar (RFC
 * 9112 7.1), with the blanks left out that it only tolerates:
 *
 *   chunk    = 1*15HEXDIG *( ";" token [ "=" ( token / quoted-string ) ] ) CRLF data CRLF
 *   the end  = chunk of size 0 without data, *( name ":" value CRLF ), CRLF */
#include "http_chunked.h"

#include <string.h>

enum { DIGITS_MAX = 15 }; /* 60 bits: no overflow, and no peer's signed 64-bit size overflows either */

enum byte_class { CTL, TEXT, BLANK, TOKEN, HEX, SEMICOLON, EQUALS, QUOTE, BACKSLASH, COLON, CR, LF, CLASSES };

enum state {
    BAD, /* 0, so that an empty cell of the table is an error */
    SIZE_START,
    SIZE,
    EXT_START, /* behind a ';' */
    EXT_NAME,
    EXT_EQUALS,
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_QUOTED_END,
    SIZE_LF,  /* the CR of a chunk's first line has come */
    SIZE_END, /* its LF too: never stays, becomes DATA or TRAILER */
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* start of a trailer line */
    TRAILER_NAME,
    TRAILER_COLON,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
    STATES
};

static const uint8_t byte_class[256] = {
    ['\t'] = BLANK,         ['\n'] = LF,           ['\r'] = CR,
    [' '] = BLANK,          ['!'] = TOKEN,         ['"'] = QUOTE,
    ['#' ... '\''] = TOKEN, ['(' ... ')'] = TEXT,  ['*' ... '+'] = TOKEN,
    [','] = TEXT,           ['-' ... '.'] = TOKEN, ['/'] = TEXT,
    ['0' ... '9'] = HEX,    [':'] = COLON,         [';'] = SEMICOLON,
    ['<'] = TEXT,           ['='] = EQUALS,        ['>' ... '@'] = TEXT,
    ['A' ... 'F'] = HEX,    ['G' ... 'Z'] = TOKEN, ['['] = TEXT,
    ['\\'] = BACKSLASH,     [']'] = TEXT,          ['^' ... '`'] = TOKEN,
    ['a' ... 'f'] = HEX,    ['g' ... 'z'] = TOKEN, ['{'] = TEXT,
    ['|'] = TOKEN,          ['}'] = TEXT,          ['~'] = TOKEN,
    [0x80 ... 0xff] = TEXT,
};

/* clang-format off */
static const uint8_t next_state[STATES][CLASSES] = {
    [SIZE_START]     = {[HEX] = SIZE},
    [SIZE]           = {[HEX] = SIZE, [SEMICOLON] = EXT_START, [CR] = SIZE_LF},
    [EXT_START]      = {[TOKEN ... HEX] = EXT_NAME},
    [EXT_NAME]       = {[TOKEN ... HEX] = EXT_NAME, [EQUALS] = EXT_EQUALS, [SEMICOLON] = EXT_START, [CR] = SIZE_LF},
    [EXT_EQUALS]     = {[TOKEN ... HEX] = EXT_TOKEN, [QUOTE] = EXT_QUOTED},
    [EXT_TOKEN]      = {[TOKEN ... HEX] = EXT_TOKEN, [SEMICOLON] = EXT_START, [CR] = SIZE_LF},
    [EXT_QUOTED]     = {[TEXT ... EQUALS] = EXT_QUOTED, [QUOTE] = EXT_QUOTED_END, [BACKSLASH] = EXT_ESCAPED, [COLON] = EXT_QUOTED},
    [EXT_ESCAPED]    = {[TEXT ... COLON] = EXT_QUOTED},
    [EXT_QUOTED_END] = {[SEMICOLON] = EXT_START, [CR] = SIZE_LF},
    [SIZE_LF]        = {[LF] = SIZE_END},
    [DATA_CR]        = {[CR] = DATA_LF},
    [DATA_LF]        = {[LF] = SIZE_START},
    [TRAILER]        = {[TOKEN ... HEX] = TRAILER_NAME, [CR] = END_LF},
    [TRAILER_NAME]   = {[TOKEN ... HEX] = TRAILER_NAME, [COLON] = TRAILER_COLON},
    [TRAILER_COLON]  = {[TEXT ... COLON] = TRAILER_VALUE, [CR] = TRAILER_LF},
    [TRAILER_VALUE]  = {[TEXT ... COLON] = TRAILER_VALUE, [CR] = TRAILER_LF},
    [TRAILER_LF]     = {[LF] = TRAILER},
    [END_LF]         = {[LF] = END},
};
/* clang-format on */

/* What a byte that a state has no cell for means, in words. */
static const char flaws[STATES][28] = {
    [SIZE_START] = "bad chunk size",          [SIZE] = "bad chunk size",
    [EXT_START] = "bad chunk extension",      [EXT_NAME] = "bad chunk extension",
    [EXT_EQUALS] = "bad chunk extension",     [EXT_TOKEN] = "bad chunk extension",
    [EXT_QUOTED] = "bad chunk extension",     [EXT_ESCAPED] = "bad chunk extension",
    [EXT_QUOTED_END] = "bad chunk extension", [SIZE_LF] = "bare CR behind a chunk size",
    [DATA_CR] = "chunk longer than its size", [DATA_LF] = "bare CR behind a chunk",
    [TRAILER] = "bad trailer name",           [TRAILER_NAME] = "bad trailer name",
    [TRAILER_COLON] = "bad trailer value",    [TRAILER_VALUE] = "bad trailer value",
    [TRAILER_LF] = "bare CR in a trailer",    [END_LF] = "bare CR behind the trailers",
};

/* Fields that a trailer must not bring (RFC 9110 6.5.1): framing, the connection, and where a request goes.
 */
static const char refused_trailers[][20] = {
    "content-length",
    "transfer-encoding",
    "trailer",
    "te",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "expect",
    "host",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
};

static enum state fail(struct http_chunked *c, const char *reason)
{
    c->reason = reason;
    return BAD;
}

static enum state take_digit(struct http_chunked *c, uint8_t digit)
{
    if (c->digits == DIGITS_MAX)
        return fail(c, "chunk size too long");
    c->digits++;
    c->left = c->left * 16 + (uint64_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    return SIZE;
}

/* Cut at the size of c->name: no refused name is that long, so a cut one equals none of them. */
static void take_name_byte(struct http_chunked *c, uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z')
        byte |= 0x20;
    if (c->name_len < sizeof(c->name))
        c->name[c->name_len++] = (char)byte;
}

static enum state check_name(struct http_chunked *c)
{
    for (size_t i = 0; i < sizeof(refused_trailers) / sizeof(refused_trailers[0]); i++)
        if (strlen(refused_trailers[i]) == c->name_len &&
            memcmp(refused_trailers[i], c->name, c->name_len) == 0)
            return fail(c, "framing or routing field in a trailer");
    c->name_len = 0;
    return TRAILER_COLON;
}

/* One byte that is not data: the next state, with what entering it means. */
static enum state step(struct http_chunked *c, uint8_t byte)
{
    enum state next = next_state[c->state][byte_class[byte]];
    if (next >= EXT_START && next <= EXT_QUOTED_END && ++c->extensions > HTTP_CHUNKED_EXTENSIONS_MAX)
        return fail(c, "chunk extensions too long");
    if (next >= TRAILER && next <= TRAILER_LF && ++c->trailers > HTTP_CHUNKED_TRAILERS_MAX)
        return fail(c, "trailers too long");
    switch (next) {
    case BAD:
        return fail(c, flaws[c->state]);
    case SIZE:
        return take_digit(c, byte);
    case SIZE_END:
        c->digits = 0;
        return c->left > 0 ? DATA : TRAILER;
    case TRAILER_NAME:
        take_name_byte(c, byte);
        return next;
    case TRAILER_COLON:
        return check_name(c);
    default:
        return next;
    }
}

void http_chunked_init(struct http_chunked *c)
{
    *c = (struct http_chunked){.state = SIZE_START};
}

enum http_parse http_chunked_decode(struct http_chunked *c, char *data, size_t len, size_t *consumed,
                                    size_t *produced)
{
    size_t in = 0, out = 0;
    while (in < len && c->state != BAD && c->state != END) {
        if (c->state != DATA) {
            c->state = (uint8_t)step(c, (uint8_t)data[in++]);
            continue;
        }
        size_t n = c->left < len - in ? (size_t)c->left : len - in;
        memmove(data + out, data + in, n);
        in += n;
        out += n;
        c->left -= n;
        if (c->left == 0)
            c->state = DATA_CR;
    }
    *consumed = in;
    *produced = out;
    if (c->state == BAD)
        return HTTP_BAD;
    return c->state == END ? HTTP_DONE : HTTP_MORE;
}
