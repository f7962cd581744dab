/* runtime/lt_file.c: tensors in .npy and .pb, written, read, damaged. */
#include "runtime/lt_file.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char why[300];

static lt_tensor tensor(const char *dtype, int rank, const int64_t *dims, const void *data) {
  lt_tensor t = {.rank = rank, .count = 1, .elem_bytes = lt_elem_bytes(dtype)};
  snprintf(t.dtype, sizeof t.dtype, "%s", dtype);
  for (int k = 0; k < rank; k++) { t.dims[k] = dims[k]; t.count *= dims[k]; }
  t.data = malloc((size_t)t.count * (size_t)t.elem_bytes + 1);
  memcpy(t.data, data, (size_t)t.count * (size_t)t.elem_bytes);
  return t;
}

/* The bytes of a .npy file with this header text. */
static size_t npy(unsigned char *to, const char *head, const void *data, size_t n) {
  memcpy(to, "\x93NUMPY\x01\x00", 8);
  size_t len = strlen(head);
  to[8] = (unsigned char)(len & 255);
  to[9] = (unsigned char)(len >> 8);
  memcpy(to + 10, head, len);
  memcpy(to + 10 + len, data, n);
  return 10 + len + n;
}

Test(lt_file, npy_round_trip) {
  static const char *const types[] = {"f32", "f64", "f16", "i8", "u8", "i16", "i32", "i64", "u64", "bool"};
  unsigned char bytes[6 * 8];
  for (int i = 0; i < 48; i++) bytes[i] = (unsigned char)(i * 7 + 1);
  for (size_t k = 0; k < sizeof types / sizeof *types; k++)
    for (int rank = 0; rank < 4; rank++) {
      const int64_t dims[] = {rank == 1 ? 6 : 3, rank == 2 ? 2 : 1, 2};
      lt_tensor t = tensor(types[k], rank, dims, bytes), back;
      char path[] = "/tmp/lathe-npy-XXXXXX", name[60];
      int fd = mkstemp(path);
      close(fd);
      snprintf(name, sizeof name, "%s.npy", path);
      cr_assert(lt_npy_save(name, &t, why, sizeof why) == 0, "%s", why);
      cr_assert(lt_file_load(name, &back, why, sizeof why) == 0, "%s", why);
      cr_expect_str_eq(back.dtype, t.dtype);
      cr_expect(back.rank == rank && back.count == t.count);
      for (int d = 0; d < rank; d++) cr_expect(back.dims[d] == t.dims[d]);
      cr_expect(!memcmp(back.data, t.data, (size_t)t.count * (size_t)t.elem_bytes));
      remove(path);
      remove(name);
      lt_tensor_free(&t);
      lt_tensor_free(&back);
    }
}

Test(lt_file, npy_orders) {
  const int16_t column[] = {1, 3, 5, 2, 4, 6};                 // [[1,2],[3,4],[5,6]] by columns
  unsigned char f[300];
  size_t n = npy(f, "{'descr': '<i2', 'fortran_order': True, 'shape': (3, 2), }\n", column, sizeof column);
  lt_tensor t;
  cr_assert(lt_npy_parse(f, n, &t, why, sizeof why) == 0, "%s", why);
  for (int i = 0; i < 6; i++) cr_expect(lt_get(&t, i) == i + 1);
  lt_tensor_free(&t);
  const unsigned char big[] = {0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0};
  n = npy(f, "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }\n", big, sizeof big);
  cr_assert(lt_npy_parse(f, n, &t, why, sizeof why) == 0, "%s", why);
  cr_expect(lt_get(&t, 0) == 1 && lt_get(&t, 1) == -2);
  lt_tensor_free(&t);
}

Test(lt_file, npy_damaged) {
  unsigned char f[300];
  const float x[4] = {0};
  lt_tensor t;
  size_t n = npy(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n", x, sizeof x);
  for (size_t cut = 0; cut < n; cut++) cr_expect(lt_npy_parse(f, cut, &t, why, sizeof why) != 0, "cut at %zu", cut);
  static const char *const bad[] = {
      "{'descr': '<f4', 'fortran_order': False, }\n",
      "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n",
      "{}\n",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }\n",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (x,), }\n",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }\n",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1), }\n",
      "{'descr': '",
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    n = npy(f, bad[k], x, sizeof x);
    cr_expect(lt_npy_parse(f, n, &t, why, sizeof why) != 0, "%s", bad[k]);
  }
}

Test(lt_file, pb_fields) {
  lt_tensor t;
  // dims 2, f32, raw_data
  const unsigned char raw[] = {0x08, 2, 0x10, 1, 0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0};
  cr_assert(lt_pb_parse(raw, sizeof raw, &t, why, sizeof why) == 0, "%s", why);
  cr_expect(t.rank == 1 && t.dims[0] == 2 && lt_get(&t, 0) == 1 && lt_get(&t, 1) == -2);
  lt_tensor_free(&t);
  // packed dims, int64_data 5, -1
  const unsigned char packed[] = {0x0a, 2, 1, 2, 0x10, 7, 0x3a, 11, 5, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
  cr_assert(lt_pb_parse(packed, sizeof packed, &t, why, sizeof why) == 0, "%s", why);
  cr_expect(t.rank == 2 && t.dims[1] == 2 && lt_get(&t, 0) == 5 && lt_get(&t, 1) == -1);
  lt_tensor_free(&t);
  // int32_data, one field each
  const unsigned char single[] = {0x08, 2, 0x10, 6, 0x28, 3, 0x28, 4};
  cr_assert(lt_pb_parse(single, sizeof single, &t, why, sizeof why) == 0, "%s", why);
  cr_expect(lt_get(&t, 0) == 3 && lt_get(&t, 1) == 4);
  lt_tensor_free(&t);
  // -1, 7, -8 in 4 bits
  const unsigned char i4[] = {0x08, 3, 0x10, 22, 0x4a, 2, 0x7f, 0x08};
  cr_assert(lt_pb_parse(i4, sizeof i4, &t, why, sizeof why) == 0, "%s", why);
  cr_expect(lt_get(&t, 0) == -1 && lt_get(&t, 1) == 7 && lt_get(&t, 2) == -8);
  lt_tensor_free(&t);
  for (size_t cut = 1; cut < sizeof raw; cut++)
    cr_expect(lt_pb_parse(raw, cut, &t, why, sizeof why) != 0, "cut at %zu", cut);
  const unsigned char external[] = {0x08, 1, 0x10, 1, 0x70, 1};
  cr_expect(lt_pb_parse(external, sizeof external, &t, why, sizeof why) != 0);
  cr_expect_str_eq(why, "the tensor's data is in another file");
}

Test(lt_file, hash) {                                          // test vectors of the XXH64 specification
  cr_expect(lt_xxh64("", 0) == 0xef46db3751d8e999u);
  cr_expect(lt_xxh64("a", 1) == 0xd24ec4f1a98c6e5bu);
  cr_expect(lt_xxh64("abc", 3) == 0x44bc2cf5ad770999u);
  char text[100];
  for (int i = 0; i < 100; i++) text[i] = (char)i;
  cr_expect(lt_xxh64(text, 100) == 0x6ac1e58032166597u);
}
