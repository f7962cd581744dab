/* images of a folder, and labels of the same folder: an image's class is the sub-folder it is in. Images are decoded
 * when rows ask for them the first time, resized, and kept as bytes. Files are in the order of their paths' bytes. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_data_kit.h"
#include "lt_image.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct folder {
  char root[LT_PATH];
  char **path;                       /* below root */
  int64_t n, room;
  unsigned char *pixels, *ready;     /* [n, C, H, W], and whether they are there */
} folder;

/* ---- listing ---- */

static int is_image(const char *name) {
  static const char *const ends[] = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm"};
  const char *dot = strrchr(name, '.');
  char low[8];
  size_t i, k;
  if (!dot || strlen(dot) >= sizeof low) return 0;
  for (i = 0; dot[i]; i++) low[i] = (char)(dot[i] >= 'A' && dot[i] <= 'Z' ? dot[i] + 32 : dot[i]);
  low[i] = 0;
  for (k = 0; k < sizeof ends / sizeof *ends; k++)
    if (!strcmp(low, ends[k])) return 1;
  return 0;
}

static int add_path(lt_data *d, folder *f, const char *path) {
  if (f->n == f->room) {
    char **more = lt_data_keep(d, sizeof *more * (size_t)(f->room = 2 * f->room + 256));
    if (!more) return -1;
    if (f->n) memcpy(more, f->path, sizeof *more * (size_t)f->n);
    lt_data_drop(d, f->path);
    f->path = more;
  }
  f->path[f->n] = lt_data_keep_text(d, path, strlen(path));
  return f->path[f->n] ? (f->n++, 0) : -1;
}

/* below: "" or "cats/"; depth stops circles of links. */
static int walk(lt_data *d, folder *f, const char *below, int depth) {
  char full[2 * LT_PATH], name[LT_PATH];
  DIR *dir;
  struct dirent *e;
  struct stat st;
  int bad = 0;
  snprintf(full, sizeof full, "%s/%s", f->root, below);
  dir = opendir(full);
  if (!dir) return lt_data_fail(d, "cannot open the folder %s: %s", full, strerror(errno));
  while (!bad && (e = readdir(dir))) {
    if (e->d_name[0] == '.' || snprintf(name, sizeof name, "%s%s", below, e->d_name) >= LT_PATH - 2) continue;
    snprintf(full, sizeof full, "%s/%s", f->root, name);
    if (stat(full, &st)) continue;
    if (S_ISDIR(st.st_mode) && depth < 16) {
      strcat(name, "/");
      bad = walk(d, f, name, depth + 1);
    } else if (S_ISREG(st.st_mode) && is_image(name)) {
      bad = add_path(d, f, name);
    }
  }
  closedir(dir);
  return bad;
}

static int by_path(const void *x, const void *y) { return strcmp(*(char *const *)x, *(char *const *)y); }

static void where(const lt_data *d, int64_t row, char *text, size_t text_len) {
  const folder *f = d->reader->own;
  snprintf(text, text_len, "%s/%s", d->reader->arg[0].text, f->path[row]);
}

static folder *list(lt_data *d) {
  folder *f = lt_data_keep(d, sizeof *f);
  if (!f || !lt_data_path(d, 0, f->root)) return NULL;
  if (d->reader->files > 1) { lt_data_fail(d, "%s of images takes one folder", d->reader->name); return NULL; }
  if (walk(d, f, "", 0)) return NULL;
  if (!f->n) {
    lt_data_fail(d, "%s holds no images (.png, .jpg, .bmp, .pgm, .ppm)", d->reader->arg[0].text);
    return NULL;
  }
  qsort(f->path, (size_t)f->n, sizeof *f->path, by_path);
  d->rows = f->n;
  d->reader->own = f;
  d->reader->where = where;
  return f;
}

/* ---- classes ---- */

int lt_data_open_folders(lt_data *d) {
  folder *f = list(d);
  int32_t *to = f ? lt_data_keep(d, sizeof *to * (size_t)f->n) : NULL, k = 0;
  const char **text = to ? lt_data_keep(d, sizeof *text * (size_t)f->n) : NULL;
  int32_t *length = text ? lt_data_keep(d, sizeof *length * (size_t)f->n) : NULL;
  int64_t i;
  if (!length) return -1;
  for (i = 0; i < f->n; i++) {                                 /* sorted: images of a class follow each other */
    const char *slash = strchr(f->path[i], '/');
    if (!slash)
      return lt_data_fail(d, "%s/%s is in no sub-folder, and the sub-folder would be its class",
                          d->reader->arg[0].text, f->path[i]);
    if (!k || slash - f->path[i] != length[k - 1] || memcmp(f->path[i], text[k - 1], (size_t)length[k - 1])) {
      text[k] = f->path[i];
      length[k++] = (int32_t)(slash - f->path[i]);
    }
    to[i] = k - 1;
  }
  if (lt_data_tokens(d, k, text, length)) return -1;
  d->reader->dense = (const char *)to;
  lt_data_shape(d, "i32", 0, NULL);
  return 0;
}

/* ---- pixels ---- */

/* Along one axis, output o of `to` is a weighted mean of inputs: where the image shrinks, of all it covers (box
 * filter), so that nothing is skipped; where it grows, of the two neighbours (linear). */
static float covered(int o, int to, int from, int i) {
  double scale = (double)from / to, lo, hi, v;
  if (scale <= 1) {
    double at = (o + 0.5) * scale - 0.5;
    if (at < 0) at = 0;
    if (at > from - 1) at = from - 1;
    v = 1 - fabs(at - i);
    return v > 0 ? (float)v : 0;
  }
  lo = o * scale > i ? o * scale : i;
  hi = (o + 1) * scale < i + 1 ? (o + 1) * scale : i + 1;
  return hi > lo ? (float)((hi - lo) / scale) : 0;
}

static int first_input(int o, int to, int from) {
  double scale = (double)from / to, at = scale <= 1 ? (o + 0.5) * scale - 0.5 : o * scale;
  return at < 0 ? 0 : (int)at;
}

static int last_input(int o, int to, int from) {
  double scale = (double)from / to;
  int at = (int)(scale <= 1 ? (o + 0.5) * scale + 0.5 : (o + 1) * scale);
  return at < from ? at : from - 1;
}

/* pixels [height, width, C] -> out [C, H, W] */
static void resize(const unsigned char *pixels, int height, int width, int C, int H, int W, unsigned char *out) {
  int c, y, x, i, j;
  for (y = 0; y < H; y++)
    for (x = 0; x < W; x++)
      for (c = 0; c < C; c++) {
        float sum = 0;
        for (i = first_input(y, H, height); i <= last_input(y, H, height); i++) {
          float across = 0;
          const unsigned char *row = pixels + (size_t)i * (size_t)width * (size_t)C + c;
          for (j = first_input(x, W, width); j <= last_input(x, W, width); j++)
            across += covered(x, W, width, j) * (float)row[(size_t)j * (size_t)C];
          sum += covered(y, H, height, i) * across;
        }
        sum = sum < 0 ? 0 : sum > 255 ? 255 : sum;
        out[((size_t)c * (size_t)H + (size_t)y) * (size_t)W + (size_t)x] = (unsigned char)(sum + 0.5f);
      }
}

static int decode(lt_data *d, folder *f, int64_t row, char *why, size_t why_len) {
  char path[2 * LT_PATH], inner[300];
  size_t n;
  int width, height;
  void *bytes;
  unsigned char *pixels;
  snprintf(path, sizeof path, "%s/%s", f->root, f->path[row]);
  bytes = lt_read_file(path, &n, why, why_len);
  if (!bytes) return -1;
  pixels = lt_image_decode(bytes, n, (int)d->dims[0], &width, &height, inner, sizeof inner);
  free(bytes);
  if (!pixels) { snprintf(why, why_len, "cannot read the image %s: %s", path, inner); return -1; }
  resize(pixels, height, width, (int)d->dims[0], (int)d->dims[1], (int)d->dims[2],
         f->pixels + (size_t)row * d->row_bytes);
  f->ready[row] = 1;
  free(pixels);
  return 0;
}

static int image_rows(lt_data *d, const int64_t *index, int64_t n, void *out, char *why, size_t why_len) {
  folder *f = d->reader->own;
  int64_t i;
  for (i = 0; i < n; i++) {
    if (!f->ready[index[i]] && decode(d, f, index[i], why, why_len)) return -1;
    memcpy((unsigned char *)out + (size_t)i * d->row_bytes, f->pixels + (size_t)index[i] * d->row_bytes, d->row_bytes);
  }
  return 0;
}

int lt_data_open_images(lt_data *d) {
  int64_t dims[3];
  folder *f;
  dims[0] = lt_data_integer(d, "channels", 3);
  dims[1] = lt_data_integer(d, "height", 0);
  dims[2] = lt_data_integer(d, "width", 0);
  if (dims[0] != 1 && dims[0] != 3) return lt_data_fail(d, "images: channels is 1 (grey) or 3 (red, green, blue)");
  if (dims[1] < 1 || dims[2] < 1 || dims[1] > 8192 || dims[2] > 8192)
    return lt_data_fail(d, "images: height and width are 1 to 8192");
  f = list(d);
  if (!f) return -1;
  lt_data_shape(d, "u8", 3, dims);
  f->ready = lt_data_keep(d, (size_t)f->n);
  f->pixels = f->ready ? lt_data_keep(d, (size_t)f->n * d->row_bytes) : NULL;  /* untouched pages are free */
  d->reader->rows = image_rows;
  return f->pixels ? 0 : -1;
}
