/* file_type.c - see file_type.h. Text in rows, not pointers: nothing to relocate. */
#include "file_type.h"

#include <string.h>

enum { EXTENSION_MAX = 12 };

#define UTF8 "; charset=utf-8"

/* By extension, sorted: what web pages and downloads are made of. Types as registered with IANA; JavaScript
 * after RFC 9239. */
static const struct row {
    char extension[EXTENSION_MAX];
    char type[36];
} rows[] = {
    {"7z",          "application/x-7z-compressed"},
    {"aac",         "audio/aac"                  },
    {"apng",        "image/apng"                 },
    {"atom",        "application/atom+xml"       },
    {"avif",        "image/avif"                 },
    {"bmp",         "image/bmp"                  },
    {"bz2",         "application/x-bzip2"        },
    {"css",         "text/css" UTF8              },
    {"csv",         "text/csv" UTF8              },
    {"epub",        "application/epub+zip"       },
    {"flac",        "audio/flac"                 },
    {"geojson",     "application/geo+json"       },
    {"gif",         "image/gif"                  },
    {"gz",          "application/gzip"           },
    {"htm",         "text/html" UTF8             },
    {"html",        "text/html" UTF8             },
    {"ico",         "image/vnd.microsoft.icon"   },
    {"ics",         "text/calendar" UTF8         },
    {"jpeg",        "image/jpeg"                 },
    {"jpg",         "image/jpeg"                 },
    {"js",          "text/javascript" UTF8       },
    {"json",        "application/json"           },
    {"jsonld",      "application/ld+json"        },
    {"jxl",         "image/jxl"                  },
    {"m4a",         "audio/mp4"                  },
    {"map",         "application/json"           },
    {"md",          "text/markdown" UTF8         },
    {"mid",         "audio/midi"                 },
    {"mjs",         "text/javascript" UTF8       },
    {"mp3",         "audio/mpeg"                 },
    {"mp4",         "video/mp4"                  },
    {"mpeg",        "video/mpeg"                 },
    {"oga",         "audio/ogg"                  },
    {"ogg",         "audio/ogg"                  },
    {"ogv",         "video/ogg"                  },
    {"opus",        "audio/ogg"                  },
    {"otf",         "font/otf"                   },
    {"pdf",         "application/pdf"            },
    {"png",         "image/png"                  },
    {"rss",         "application/rss+xml"        },
    {"rtf",         "application/rtf"            },
    {"svg",         "image/svg+xml"              },
    {"tar",         "application/x-tar"          },
    {"tgz",         "application/gzip"           },
    {"tif",         "image/tiff"                 },
    {"tiff",        "image/tiff"                 },
    {"ttf",         "font/ttf"                   },
    {"txt",         "text/plain" UTF8            },
    {"vtt",         "text/vtt" UTF8              },
    {"wasm",        "application/wasm"           },
    {"wav",         "audio/wav"                  },
    {"weba",        "audio/webm"                 },
    {"webm",        "video/webm"                 },
    {"webmanifest", "application/manifest+json"  },
    {"webp",        "image/webp"                 },
    {"woff",        "font/woff"                  },
    {"woff2",       "font/woff2"                 },
    {"xhtml",       "application/xhtml+xml"      },
    {"xml",         "application/xml"            },
    {"xz",          "application/x-xz"           },
    {"zip",         "application/zip"            },
    {"zst",         "application/zstd"           },
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

const char *file_type(const char *name, size_t len)
{
    char extension[EXTENSION_MAX];
    extension_of(name, len, extension);
    size_t low = 0, high = sizeof(rows) / sizeof(rows[0]);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(extension, rows[middle].extension);
        if (order == 0)
            return rows[middle].type;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return "application/octet-stream";
}
