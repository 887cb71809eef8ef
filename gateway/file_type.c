/* file_type.c - see file_type.h. Text in rows, not pointers: nothing to relocate. */
#include "file_type.h"

#include <string.h>

enum { EXTENSION_MAX = 12 };

#define WEB  1
#define UTF8 "; charset=utf-8"

/* By extension, sorted: what web pages and downloads are made of. Types as registered with IANA; JavaScript
 * after RFC 9239. */
static const struct row {
    char extension[EXTENSION_MAX];
    char type[36];
    char web;
} rows[] = {
    {"7z",          "application/x-7z-compressed", 0  },
    {"aac",         "audio/aac",                   WEB},
    {"apng",        "image/apng",                  WEB},
    {"atom",        "application/atom+xml",        0  },
    {"avif",        "image/avif",                  WEB},
    {"bmp",         "image/bmp",                   WEB},
    {"bz2",         "application/x-bzip2",         0  },
    {"css",         "text/css" UTF8,               WEB},
    {"csv",         "text/csv" UTF8,               0  },
    {"epub",        "application/epub+zip",        0  },
    {"flac",        "audio/flac",                  WEB},
    {"geojson",     "application/geo+json",        0  },
    {"gif",         "image/gif",                   WEB},
    {"gz",          "application/gzip",            0  },
    {"htm",         "text/html" UTF8,              WEB},
    {"html",        "text/html" UTF8,              WEB},
    {"ico",         "image/vnd.microsoft.icon",    WEB},
    {"ics",         "text/calendar" UTF8,          0  },
    {"jpeg",        "image/jpeg",                  WEB},
    {"jpg",         "image/jpeg",                  WEB},
    {"js",          "text/javascript" UTF8,        WEB},
    {"json",        "application/json",            0  },
    {"jsonld",      "application/ld+json",         0  },
    {"jxl",         "image/jxl",                   WEB},
    {"m4a",         "audio/mp4",                   WEB},
    {"map",         "application/json",            0  },
    {"md",          "text/markdown" UTF8,          0  },
    {"mid",         "audio/midi",                  WEB},
    {"mjs",         "text/javascript" UTF8,        WEB},
    {"mp3",         "audio/mpeg",                  WEB},
    {"mp4",         "video/mp4",                   WEB},
    {"mpeg",        "video/mpeg",                  WEB},
    {"oga",         "audio/ogg",                   WEB},
    {"ogg",         "audio/ogg",                   WEB},
    {"ogv",         "video/ogg",                   WEB},
    {"opus",        "audio/ogg",                   WEB},
    {"otf",         "font/otf",                    WEB},
    {"pdf",         "application/pdf",             WEB},
    {"png",         "image/png",                   WEB},
    {"rss",         "application/rss+xml",         0  },
    {"rtf",         "application/rtf",             0  },
    {"svg",         "image/svg+xml",               WEB},
    {"tar",         "application/x-tar",           0  },
    {"tgz",         "application/gzip",            0  },
    {"tif",         "image/tiff",                  WEB},
    {"tiff",        "image/tiff",                  WEB},
    {"ttf",         "font/ttf",                    WEB},
    {"txt",         "text/plain" UTF8,             WEB},
    {"vtt",         "text/vtt" UTF8,               WEB},
    {"wasm",        "application/wasm",            WEB},
    {"wav",         "audio/wav",                   WEB},
    {"weba",        "audio/webm",                  WEB},
    {"webm",        "video/webm",                  WEB},
    {"webmanifest", "application/manifest+json",   WEB},
    {"webp",        "image/webp",                  WEB},
    {"woff",        "font/woff",                   WEB},
    {"woff2",       "font/woff2",                  WEB},
    {"xhtml",       "application/xhtml+xml",       WEB},
    {"xml",         "application/xml",             0  },
    {"xz",          "application/x-xz",            0  },
    {"zip",         "application/zip",             0  },
    {"zst",         "application/zstd",            0  },
};

/* What stands behind the last dot of the last segment, in lower case; "" without a dot or when too long. */
static void extension_of(const char *name, size_t len, char out[EXTENSION_MAX])
{
    size_t n = 0;
    out[0] = '\0';
    while (n < len && name[len - 1 - n] != '.' && name[len - 1 - n] != '/')
        n++;
    if (n == len || name[len - 1 - n] == '/' || n >= EXTENSION_MAX)
        return;
    for (size_t i = 0; i < n; i++) {
        char c = name[len - n + i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    out[n] = '\0';
}

static const struct row *find(const char *name, size_t len)
{
    char extension[EXTENSION_MAX];
    extension_of(name, len, extension);
    size_t low = 0, high = sizeof(rows) / sizeof(rows[0]);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(extension, rows[middle].extension);
        if (order == 0)
            return &rows[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *file_type(const char *name, size_t len)
{
    const struct row *row = find(name, len);
    return row != NULL ? row->type : "application/octet-stream";
}

bool file_type_is_web(const char *name, size_t len)
{
    const struct row *row = find(name, len);
    return row != NULL && row->web == WEB;
}
