/* Images and deflate, both from stb_image (public domain): the one file that includes it is lt_image.c. C99. */
#ifndef LT_IMAGE_H
#define LT_IMAGE_H
#include "lt_file.h"

/* An image as a tensor: values 0..1 (f32) or 0..255 (u8), grey or RGB by the input's channel count. t comes with the
 * input's dtype and dims; -1 where any size will do (it is filled in). Nothing is resized behind the user's back. */
int lt_image_load(const char *path, lt_tensor *t, char *why, size_t why_len);

/* PNG, JPEG, BMP, PNM in memory as interleaved pixels, malloc'ed: u8 [height, width, channels]. NULL: why says why. */
unsigned char *lt_image_decode(const void *bytes, size_t n, int channels, int *width, int *height, char *why,
                               size_t why_len);

/* Raw deflate (RFC 1951) to exactly out_n bytes; 0, or -1 when it is damaged or gives another number of bytes.
 * Looks ahead: LT_INFLATE_AHEAD bytes behind the n must be readable (in every container something follows). */
enum { LT_INFLATE_AHEAD = 4 };
int lt_inflate(const void *bytes, size_t n, void *out, size_t out_n);
#endif
