/* com.microsoft MatMulNBits: y = x W^T + bias for a constant W [N, K] of 2, 4 or 8 bits per number, quantised in
 * blocks along K. A row's blocks are padded to whole bytes, low bits first; W[n, k] = (q - zero point) * scale of
 * block k / block_size. Zero points are packed like W, or values of the scale's type; without them 2^(bits - 1).
 *
 * W becomes a u8 constant [N, K] with its arithmetic as nodes: folding or a quantised kernel decides what stays. */
#include "frontend/calc.h"

/* Numbers of `bits` bits in rows of `bytes` bytes -> u8 [rows, columns] */
static ValueId unpacked(Import *x, const Tensor *t, int64_t rows, int64_t columns, int64_t bytes, int bits) {
  Tensor *u = tensor_new(&x->m->perm, DT_U8, 2, (int64_t[]){ rows, columns });
  const uint8_t *from = t->data;
  uint8_t *to = u->data;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++)
      to[r * columns + c] = (uint8_t)(from[r * bytes + c * bits / 8] >> (c * bits % 8) & ((1 << bits) - 1));
  return calc_tensor(x, u);
}

/* [N, blocks] -> [N, K] */
static ValueId per_number(Import *x, ValueId v, int64_t n, int64_t blocks, int64_t size, int64_t k) {
  v = calc_reshape(x, v, (Dim[]){ DIM(n), DIM(blocks), DIM(1) }, 3);
  v = calc_reshape(x, calc_expand(x, v, (Dim[]){DIM(n), DIM(blocks), DIM(size)}, 3),
                   (Dim[]){DIM(n), DIM(blocks * size)}, 2);
  return calc_slice1(x, v, 1, DIM(0), DIM(k));
}

bool import_ms_matmul_nbits(Import *x) {
  if (!calc_needs(x, 3)) return false;
  int64_t k = imp_int(x, "K", 0), n = imp_int(x, "N", 0), bits = imp_int(x, "bits", 4),
          size = imp_int(x, "block_size", 0);
  if (k < 1 || n < 1 || k > INT32_MAX || n > INT32_MAX || size < 16 || size > 1 << 20 || size & (size - 1))
    return imp_fail(x, "shape", "K=%lld N=%lld block_size=%lld", (long long)k, (long long)n, (long long)size);
  if (bits != 2 && bits != 4 && bits != 8) return imp_fail(x, "unsupported", "weights of %lld bits", (long long)bits);
  if (imp_present(x, 4)) return imp_fail(x, "unsupported", "input g_idx (reordered columns)");
  if (imp_int(x, "weight_prepacked", 0))
    return imp_fail(x, "unsupported", "weights packed for one kernel; export before that");
  int64_t blocks = (k + size - 1) / size, zero_bytes = (blocks * bits + 7) / 8;
  const Tensor *w = imp_constant(x, 1), *z = imp_constant(x, 3);
  bool packed = imp_present(x, 3) && imp_dtype(x, 3) == DT_U8;
  if (!w || w->dtype != DT_U8 || tensor_count(w) != n * blocks * (size * bits / 8) ||
      (packed && (!z || tensor_count(z) != n * zero_bytes)))
    return imp_fail(x, "unsupported", "weights and zero points must be constants that fit K, N, bits and block_size");
  if (!dim_is_const(type_count(imp_type(x, 2))) || type_count(imp_type(x, 2)).k != n * blocks)
    return imp_fail(x, "shape", "%s scales, %lld are needed", dim_text(type_count(imp_type(x, 2))),
                    (long long)(n * blocks));
  DType t = imp_dtype(x, 2);
  ValueId q = calc_slice1(x, unpacked(x, w, n, blocks * size, blocks * size * bits / 8, (int)bits), 1, DIM(0),
                          DIM(k)),
          zero;
  if (packed)
    zero = per_number(x, calc_cast(x, unpacked(x, z, n, blocks, zero_bytes, (int)bits), t), n, blocks, size, k);
  else if (imp_present(x, 3)) zero = per_number(x, calc_cast(x, x->in[3], t), n, blocks, size, k);
  else zero = imp_scalar(x, t, (double)(1 << (bits - 1)));
  ValueId real = calc_mul(x, calc_sub(x, calc_cast(x, q, t), zero), per_number(x, x->in[2], n, blocks, size, k));
  ValueId y = calc_matmul(x, x->in[0], calc_swap_last(x, calc_cast(x, real, imp_dtype(x, 0))));
  return calc_set(x, 0, imp_present(x, 5) ? calc_add(x, y, x->in[5]) : y);
}
