/* Element types: codes whose values are known, round trips of every code, saturation as in ONNX Cast. */
#include "ir/dtype.h"
#include <criterion/criterion.h>
#include <math.h>

Test(dtype, table) {
  cr_assert_eq(dtype_from_onnx(16), DT_BF16);
  cr_assert_eq(dtype_from_onnx(999), DT_NONE);
  cr_assert_eq(dtype_from_text("u4"), DT_U4);
  cr_assert_eq(dtype_from_text("int"), DT_NONE);
}

Test(dtype, every_code_survives) {
  static const DType types[] = {DT_F16, DT_BF16, DT_F8E4M3FN, DT_F8E4M3FNUZ,
                                DT_F8E5M2, DT_F8E5M2FNUZ, DT_F8E8M0, DT_F4E2M1};
  for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
    DType t = types[k];
    for (uint32_t c = 0; c < (uint32_t)1 << dtype_info[t].bits; c++) {
      float f = narrow_to_float(t, c);
      if (f != f) continue;
      uint32_t back = narrow_from_float(t, f, false);
      cr_assert_eq(back, c, "%s: code %x is %g, which became %x", dtype_info[t].text, c, (double)f, back);
    }
  }
}

Test(dtype, rounding_and_range) {
  cr_assert_eq(narrow_from_float(DT_F16, 65519.0f, true), 0x7bff);
  cr_assert_eq(narrow_from_float(DT_F16, 65520.0f, true), 0x7c00);          // f16 never saturates
  cr_assert_eq(narrow_from_float(DT_F16, 0x1p-25f, true), 0);               // half of the least subnormal: to even
  cr_assert_eq(narrow_from_float(DT_F16, 0x1.8p-24f, true), 2);
  cr_assert_eq(narrow_from_float(DT_F8E4M3FN, 464.0f, false), 0x7e);        // a tie that stays in range
  cr_assert_eq(narrow_from_float(DT_F8E4M3FN, 465.0f, false), 0x7f);
  cr_assert_eq(narrow_from_float(DT_F8E4M3FN, 1e9f, true), 0x7e);
  cr_assert_eq(narrow_from_float(DT_F8E5M2, -INFINITY, true), 0xfb);
  cr_assert_eq(narrow_from_float(DT_F8E5M2, -INFINITY, false), 0xfc);
  cr_assert_eq(narrow_from_float(DT_F8E4M3FNUZ, -0.0f, true), 0);
  cr_assert_eq(narrow_from_float(DT_F8E4M3FNUZ, NAN, true), 0x80);
  cr_assert_eq(narrow_from_float(DT_F8E8M0, 3.0f, true), 129);              // up, to 4
  cr_assert_eq(narrow_from_float(DT_F8E8M0, 2.9f, false), 128);             // nearest, to 2
  cr_assert_eq(narrow_from_float(DT_F4E2M1, 5.0f, true), 6);                // tie of 4 and 6: the even code
}

Test(dtype, tensors) {
  Arena a = {0};
  Tensor *t = tensor_new(&a, DT_I4, 1, (int64_t[]){3});
  tensor_set_int(t, 0, 9);
  tensor_set(t, 1, -8.9);
  cr_assert_eq(tensor_get_int(t, 0), -7);
  cr_assert_eq(tensor_get_int(t, 1), -8);
  Tensor *u = tensor_scalar(&a, DT_U64, 0x1.8p63);
  cr_assert_float_eq(tensor_get(u, 0), 0x1.8p63, 0);
  Tensor *f = tensor_scalar(&a, DT_F32, 0);
  tensor_set_int(f, 0, (1 << 24) + 1);
  cr_assert_float_eq(tensor_get(f, 0), 0x1p24, 0);
  Tensor *e = tensor_new(&a, DT_F32, 2, (int64_t[]){0, 7});
  cr_assert_eq(tensor_count(e), 0);
  Tensor *n = tensor_scalar(&a, DT_I32, NAN);
  cr_assert_eq(tensor_get_int(n, 0), 0);
  arena_free(&a);
}
