/* See lt_zip.h. Sizes come from the archive's directory at its end, not from the headers before the members, which
 * writers that stream leave empty. */
#include "lt_zip.h"
#include "lt_image.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  END_BYTES = 22, ENTRY_BYTES = 46, LOCAL_BYTES = 30, GZIP_BYTES = 10, GZIP_TAIL = 8,
  RATIO = 1032,                                                /* deflate's best: 258 bytes in 2 bits */
  COMMENT = 65535                                              /* the longest behind the directory's end */
};

#define FAIL(...) (lt_fail(__VA_ARGS__), (void *)NULL)

static size_t u16(const unsigned char *p) { return p[0] | (size_t)p[1] << 8; }
static size_t u32(const unsigned char *p) { return u16(p) | u16(p + 2) << 16; }

/* CRC-32 of both formats: reflected, polynomial 0x04C11DB7; four bits at a time. */
static uint32_t crc32(const unsigned char *p, size_t n) {
  uint32_t table[16], crc = 0xFFFFFFFFu;
  size_t i;
  for (i = 0; i < 16; i++) {
    uint32_t c = (uint32_t)i;
    int k;
    for (k = 0; k < 4; k++) c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
    table[i] = c;
  }
  for (i = 0; i < n; i++) {
    crc = table[(crc ^ p[i]) & 15] ^ crc >> 4;
    crc = table[(crc ^ (unsigned)p[i] >> 4) & 15] ^ crc >> 4;
  }
  return ~crc;
}

/* method: zip's; 0 stored, 8 deflated. */
static void *unpacked(const unsigned char *p, size_t n, size_t method, size_t size, size_t crc, char *why,
                      size_t why_len) {
  unsigned char *out;
  if (method != 0 && method != 8)
    return FAIL(why, why_len, "it is packed with method %zu; stored and deflated can be read", method);
  if (method ? size / RATIO > n + 1 : size != n) return FAIL(why, why_len, "damaged: its sizes contradict each other");
  if (size > 0x7FFFFFFF) return FAIL(why, why_len, "larger than 2 GiB unpacked; unpack it first");
  out = malloc(size + 64);
  if (!out) return FAIL(why, why_len, "no memory for %zu bytes", size);
  if (!method) memcpy(out, p, n);
  else if (lt_inflate(p, n, out, size)) {
    free(out);
    return FAIL(why, why_len, "damaged: it does not unpack to the %zu bytes it should hold", size);
  }
  if (crc32(out, size) != crc) {
    free(out);
    return FAIL(why, why_len, "damaged: the checksum does not match");
  }
  memset(out + size, 0, 64);
  return out;
}

/* ---- gzip ---- */

static size_t past_text(const unsigned char *p, size_t at, size_t n) {
  while (at < n && p[at]) at++;
  return at + 1;
}

static void *gunzip(const unsigned char *p, size_t n, size_t *size, char *why, size_t why_len) {
  size_t at = GZIP_BYTES;
  if (n < GZIP_BYTES + GZIP_TAIL || p[2] != 8) return FAIL(why, why_len, "damaged: cut off within gzip's header");
  if (p[3] & 4) at += 2 + (at + 2 <= n ? u16(p + at) : n);     /* extra field, name, comment, header's CRC */
  if (p[3] & 8) at = past_text(p, at, n);
  if (p[3] & 16) at = past_text(p, at, n);
  if (p[3] & 2) at += 2;
  if (at > n || n - at < GZIP_TAIL) return FAIL(why, why_len, "damaged: cut off within gzip's header");
  *size = u32(p + n - 4);
  return unpacked(p + at, n - at - GZIP_TAIL, 8, *size, u32(p + n - 8), why, why_len);
}

/* ---- zip ---- */

typedef struct entry { const unsigned char *p; const char *name; size_t name_len; } entry;

static int next_entry(const unsigned char *zip, size_t bytes, size_t *at, entry *e) {
  if (*at > bytes || bytes - *at < ENTRY_BYTES || memcmp(zip + *at, "PK\1\2", 4)) return 0;
  e->p = zip + *at;
  e->name = (const char *)e->p + ENTRY_BYTES;
  e->name_len = u16(e->p + 28);
  if (bytes - *at - ENTRY_BYTES < e->name_len) return 0;
  *at += ENTRY_BYTES + e->name_len + u16(e->p + 30) + u16(e->p + 32);
  return 1;
}

/* 2: the whole name, 1: the end of its path, 0: neither. NULL fits any file. */
static int fits(const entry *e, const char *name) {
  size_t n = name ? strlen(name) : 0;
  if (e->name_len == 0 || e->name[e->name_len - 1] == '/') return 0;           /* a folder */
  if (!name) return 1;
  if (n > e->name_len || memcmp(e->name + e->name_len - n, name, n)) return 0;
  if (n == e->name_len) return 2;
  return e->name[e->name_len - n - 1] == '/';
}

static void *read_entry(const unsigned char *zip, size_t bytes, const entry *e, size_t *n, char *why, size_t why_len) {
  size_t packed = u32(e->p + 20), local = u32(e->p + 42), at;
  *n = u32(e->p + 24);
  if (u16(e->p + 8) & 1) return FAIL(why, why_len, "it is encrypted");
  if (packed == 0xFFFFFFFF || *n == 0xFFFFFFFF)
    return FAIL(why, why_len, "larger than 4 GiB; unpack the archive first");
  if (local > bytes || bytes - local < LOCAL_BYTES || memcmp(zip + local, "PK\3\4", 4))
    return FAIL(why, why_len, "damaged: it is not where the directory says");
  at = local + LOCAL_BYTES + u16(zip + local + 26) + u16(zip + local + 28);
  if (at > bytes || bytes - at < packed + LT_INFLATE_AHEAD) return FAIL(why, why_len, "damaged: it is cut off");
  return unpacked(zip + at, packed, u16(e->p + 10), *n, u32(e->p + 16), why, why_len);
}

/* The directory's start, behind which its entries follow one another; `bytes` when there is none. */
static size_t directory(const unsigned char *zip, size_t bytes) {
  size_t k;
  for (k = END_BYTES; k <= bytes && k <= END_BYTES + COMMENT; k++)
    if (!memcmp(zip + bytes - k, "PK\5\6", 4)) return u32(zip + bytes - k + 16);
  return bytes;
}

static void list_names(const unsigned char *zip, size_t bytes, char *text, size_t n) {
  size_t at = directory(zip, bytes), len = 0;
  entry e;
  text[0] = 0;
  while (next_entry(zip, bytes, &at, &e) && len + 40 < n)
    if (fits(&e, NULL))
      len += (size_t)snprintf(text + len, n - len, "%s%.*s", len ? ", " : "",
                              (int)(e.name_len < 60 ? e.name_len : 60), e.name);
  if (len >= n) text[n - 1] = 0;
}

void *lt_zip_member(const void *zip, size_t bytes, const char *name, size_t *n, char *why, size_t why_len) {
  size_t at = directory(zip, bytes);
  int best = 0, same = 0;
  char names[300];
  entry e, found = {NULL, NULL, 0};
  if (at >= bytes) return FAIL(why, why_len, "damaged: the archive has no directory; is the file complete?");
  while (next_entry(zip, bytes, &at, &e)) {
    int how = fits(&e, name);
    if (how && how >= best) {
      same = how > best ? 1 : same + 1;
      best = how;
      found = e;
    }
  }
  if (same == 1) return read_entry(zip, bytes, &found, n, why, why_len);
  list_names(zip, bytes, names, sizeof names);
  if (!name) return FAIL(why, why_len, "say which member of the archive, as archive.zip/member: it holds %s", names);
  return FAIL(why, why_len,
              same ? "several members of the archive end so: it holds %s"
                   : "the archive has no such member; it holds %s", names);
}

/* ---- files ---- */

/* "a.zip/b/c" -> length of "a.zip" when that is a file; else 0. */
static size_t archive_of(const char *path) {
  const char *p = path;
  while ((p = strstr(p, ".zip/"))) {
    struct stat st;
    char head[4000];
    size_t n = (size_t)(p + 4 - path);
    if (n >= sizeof head) return 0;
    memcpy(head, path, n);
    head[n] = 0;
    if (!stat(head, &st) && S_ISREG(st.st_mode)) return n;
    p += 5;
  }
  return 0;
}

void *lt_unpack_file(const char *path, size_t *n, char *why, size_t why_len) {
  size_t head = archive_of(path), bytes = 0;
  char file[4096], inner[700];
  unsigned char *p, *out;
  snprintf(file, sizeof file, "%.*s", (int)(head ? head : strlen(path)), path);
  p = lt_read_file(file, &bytes, why, why_len);
  if (!p) return NULL;
  if (head || (bytes > 4 && !memcmp(p, "PK\3\4", 4))) {
    out = lt_zip_member(p, bytes, head ? path + head + 1 : NULL, n, inner, sizeof inner);
  } else if (bytes > 2 && p[0] == 0x1F && p[1] == 0x8B) {
    out = gunzip(p, bytes, n, inner, sizeof inner);
  } else {
    *n = bytes;
    memset(p + bytes, 0, 64);                                  /* lt_read_file leaves room for a terminator */
    return p;
  }
  free(p);
  return out ? out : FAIL(why, why_len, "%s: %s", path, inner);
}
