/* See lt_image.h. */
#include "lt_image.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"             // reported at the end of the file, so it stays ignored
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wcast-qual"
#endif
#define STBI_NO_HDR                                            // its ldexp alone would need libm
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#include "stb_image.h"
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* Where channels, rows and columns are among the dims of an input. -1: there is no channel axis. */
static int axes(const lt_tensor *t, int *c, int *h, int *w) {
  int r = t->rank;
  *c = -1;
  if (r < 2 || r > 4 || (r == 4 && t->dims[0] > 1)) return -1;
  if (r == 2) { *h = 0; *w = 1; return 0; }
  if (t->dims[r - 3] == 1 || t->dims[r - 3] == 3) { *c = r - 3; *h = r - 2; *w = r - 1; return 0; }
  if (t->dims[r - 1] == 1 || t->dims[r - 1] == 3) { *c = r - 1; *h = r - 3; *w = r - 2; return 0; }
  return -1;
}

int lt_image_load(const char *path, lt_tensor *t, char *why, size_t why_len) {
  int c, h, w, width, height, of_file, k, channels, is_u8 = !strcmp(t->dtype, "u8");
  int64_t plane, i;
  unsigned char *pixels;
  if (!is_u8 && strcmp(t->dtype, "f32")) {
    snprintf(why, why_len, "an input of type %s takes no image", t->dtype);
    return -1;
  }
  if (axes(t, &c, &h, &w)) {
    snprintf(why, why_len, "the input is not an image: it has neither [H,W] nor [1,C,H,W] with C 1 or 3");
    return -1;
  }
  channels = c < 0 ? 1 : (int)t->dims[c];
  pixels = stbi_load(path, &width, &height, &of_file, channels);
  if (!pixels) { snprintf(why, why_len, "cannot read the image %s: %s", path, stbi_failure_reason()); return -1; }
  if ((t->dims[h] >= 0 && t->dims[h] != height) || (t->dims[w] >= 0 && t->dims[w] != width)) {
    snprintf(why, why_len, "%s is %d pixels wide and %d high; the input takes %lld wide and %lld high", path, width,
             height,
             (long long)(t->dims[w] < 0 ? width : t->dims[w]), (long long)(t->dims[h] < 0 ? height : t->dims[h]));
    stbi_image_free(pixels);
    return -1;
  }
  t->dims[h] = height;
  t->dims[w] = width;
  t->count = 1;
  for (k = 0; k < t->rank; k++) t->count *= t->dims[k] < 0 ? t->dims[k] = 1 : t->dims[k];
  t->data = malloc((size_t)t->count * (size_t)t->elem_bytes + 1);
  plane = (int64_t)width * height;
  for (i = 0; t->data && i < t->count; i++) {
    int64_t from = c >= 0 && c < h ? i % plane * channels + i / plane : i;      /* planes from interleaved pixels */
    if (is_u8) ((unsigned char *)t->data)[i] = pixels[from];
    else ((float *)t->data)[i] = (float)pixels[from] / 255.0f;
  }
  stbi_image_free(pixels);
  if (t->data) return 0;
  snprintf(why, why_len, "%s: no memory", path);
  return -1;
}

unsigned char *lt_image_decode(const void *bytes, size_t n, int channels, int *width, int *height, char *why,
                               size_t why_len) {
  int of_file;
  unsigned char *pixels = NULL;
  if (n <= INT_MAX) pixels = stbi_load_from_memory(bytes, (int)n, width, height, &of_file, channels);
  if (!pixels) snprintf(why, why_len, "%s", n > INT_MAX ? "the image is too large" : stbi_failure_reason());
  return pixels;                                               /* stb_image was left its malloc: free() frees them */
}

int lt_inflate(const void *bytes, size_t n, void *out, size_t out_n) {
  if (n > INT_MAX - LT_INFLATE_AHEAD || out_n > INT_MAX) return -1;
  return stbi_zlib_decode_noheader_buffer(out, (int)out_n, bytes, (int)n + LT_INFLATE_AHEAD) == (int)out_n ? 0 : -1;
}
