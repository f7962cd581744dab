/* Packed files: gzip (RFC 1952) and zip (PKWARE's APPNOTE.TXT; stored and deflated members, no encryption, no zip64
 * sizes), unpacked whole into memory and checked by their CRC. C99; needs libc, lt_file.c and lt_image.c. */
#ifndef LT_ZIP_H
#define LT_ZIP_H
#include "lt_file.h"

/* A file's bytes, malloc'ed, unpacked when they are gzip's. "a.zip/member" names a member of a zip, whole or by the end
 * of its path; "a.zip" will do when there is one. NULL: why says why, with the path. */
void *lt_unpack_file(const char *path, size_t *n, char *why, size_t why_len);

/* A member of a zip in memory; name NULL: the only one. malloc'ed. NULL: why says why, without a path. */
void *lt_zip_member(const void *zip, size_t bytes, const char *name, size_t *n, char *why, size_t why_len);
#endif
