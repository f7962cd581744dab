/* idx, npy, npz: arrays whose first axis is the rows. The idx format: http://yann.lecun.com/exdb/mnist/ (two zeros, a
 * type, a rank, big-endian sizes, big-endian elements). */
#include "lt_data_kit.h"
#include "lt_zip.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int give_rows(lt_data *d, const char *dtype, int rank, const int64_t *dims, const char *dense) {
  d->rows = dims[0];
  d->reader->dense = dense;
  lt_data_shape(d, dtype, rank - 1, dims + 1);
  if (d->row_bytes == 0) return lt_data_fail(d, "%s: its rows are empty", d->reader->arg[0].text);
  return 0;
}

/* ---- idx ---- */

typedef struct idx_type { int code; const char *dtype; size_t bytes; } idx_type;
static const idx_type idx_types[] = {
  {8, "u8", 1}, {9, "i8", 1}, {11, "i16", 2}, {12, "i32", 4}, {13, "f32", 4}, {14, "f64", 8},
};

static void swap(unsigned char *p, size_t n, size_t bytes) {
  size_t i, k;
  for (i = 0; i < n; i++, p += bytes)
    for (k = 0; k < bytes / 2; k++) {
      unsigned char t = p[k];
      p[k] = p[bytes - 1 - k];
      p[bytes - 1 - k] = t;
    }
}

int lt_data_open_idx(lt_data *d) {
  const char *file = d->reader->arg[0].text;
  const idx_type *type = NULL;
  int64_t dims[LT_MAX_RANK], count = 1;
  size_t n, k, head;
  unsigned char *p = (unsigned char *)lt_data_bytes(d, 0, &n);
  if (!p) return -1;
  if (n < 4 || p[0] || p[1]) return lt_data_fail(d, "%s is not an idx file: it does not begin with two zeros", file);
  for (k = 0; k < sizeof idx_types / sizeof *idx_types; k++)
    if (idx_types[k].code == p[2]) type = &idx_types[k];
  if (!type) return lt_data_fail(d, "%s: idx has no element type %d; the file is damaged", file, p[2]);
  if (p[3] < 1 || p[3] > LT_MAX_RANK)
    return lt_data_fail(d, "%s: %d axes; 1 to %d can be read", file, p[3], LT_MAX_RANK);
  head = 4 + 4 * (size_t)p[3];
  if (n < head) return lt_data_fail(d, "%s is cut off within its header", file);
  for (k = 0; k < p[3]; k++) {
    const unsigned char *q = p + 4 + 4 * k;
    dims[k] = (int64_t)q[0] << 24 | q[1] << 16 | q[2] << 8 | q[3];
    if (dims[k] && count > INT64_MAX / 16 / dims[k])
      return lt_data_fail(d, "%s: the sizes in its header are damaged", file);
    count *= dims[k];
  }
  if (n - head != (size_t)count * type->bytes)
    return lt_data_fail(d, "%s: its header promises %lld bytes of data, it has %zu%s", file,
                        (long long)count * (long long)type->bytes,
                        n - head, n - head < (size_t)count * type->bytes ? "; the file is cut off" : "");
  swap(p + head, (size_t)count, type->bytes);
  return give_rows(d, type->dtype, p[3], dims, (const char *)p + head);
}

/* ---- NumPy ---- */

static int open_array(lt_data *d, const char *name, const void *bytes, size_t n) {
  lt_tensor t;
  char inner[300], *dense;
  int bad;
  if (lt_npy_parse(bytes, n, &t, inner, sizeof inner)) return lt_data_fail(d, "%s: %s", name, inner);
  if (t.rank < 1) {
    lt_tensor_free(&t);
    return lt_data_fail(d, "%s holds one number; rows need an axis", name);
  }
  dense = lt_data_keep_text(d, t.data, (size_t)t.count * (size_t)t.elem_bytes);
  bad = !dense || give_rows(d, t.dtype, t.rank, t.dims, dense);
  lt_tensor_free(&t);
  return bad ? -1 : 0;
}

int lt_data_open_npy(lt_data *d) {
  size_t n;
  char *bytes = lt_data_bytes(d, 0, &n);
  int bad = !bytes || open_array(d, d->reader->arg[0].text, bytes, n);
  lt_data_drop(d, bytes);
  return bad ? -1 : 0;
}

int lt_data_open_npz(lt_data *d) {
  const char *file = d->reader->arg[0].text;
  char path[LT_PATH], inner[500], member[300];
  size_t n = 0, size = 0;
  void *zip, *bytes;
  int bad;
  if (!lt_data_path(d, 0, path)) return -1;
  zip = lt_read_file(path, &n, d->reader->why, d->reader->why_len);
  if (!zip) return -1;
  snprintf(member, sizeof member, "%s.npy", d->reader->arg[1].text);
  bytes = lt_zip_member(zip, n, member, &size, inner, sizeof inner);
  free(zip);
  if (!bytes) return lt_data_fail(d, "%s, '%s': %s", file, member, inner);
  snprintf(inner, sizeof inner, "%.200s, '%.200s'", file, member);
  bad = open_array(d, inner, bytes, size);
  free(bytes);
  return bad;
}
