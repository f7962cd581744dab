/* Operators that are irregular work rather than loops over a fixed shape: one C99 function each, in op_NAME.c.
 * A compiled model links those it uses; lathe's evaluator calls the same ones.
 *
 * Conventions: buffers come first, then numbers (int64_t). Tensors are dense and row-major; where an axis
 * matters they are seen as [outer, n, inner] about it. Nothing is allocated: scratch is given by the caller,
 * its size is stated in elements. A result whose length depends on the data is written from the start of a
 * buffer for the longest case, its length to *count. Negative sizes are not expected; sizes may be 0.
 *
 * `elem` says what the elements of a `void *` are (lt_elem). */
#ifndef LT_OPS_H
#define LT_OPS_H
#include <stdint.h>

/* Element types: class * 16 + bytes. */
enum lt_elem {
  LT_I8 = 0x11, LT_I16 = 0x12, LT_I32 = 0x14, LT_I64 = 0x18,
  LT_U8 = 0x21, LT_U16 = 0x22, LT_U32 = 0x24, LT_U64 = 0x28,        /* bool is LT_U8 */
  LT_F8 = 0x31, LT_F16 = 0x32, LT_F32 = 0x34, LT_F64 = 0x38,        /* sign and magnitude; F8: any of the kinds */
  LT_BF16 = 0x42
};

/* Element i of x as an integer that sorts as the element does. -0 and 0 give the same; any NaN is the largest. */
int64_t lt_sort_key(const void *x, int64_t i, int64_t elem);

/* ONNX TopK (opset 11). x [outer, n, inner] -> values, indices [outer, k, inner]: the k largest (or smallest)
 * along the axis, best first; equal ones in the order of their indices. 0 <= k <= n.
 * values has x's element type. scratch: 3 * n. */
void lt_topk(const void *x, void *values, int64_t *indices, int64_t *scratch, int64_t elem, int64_t outer,
             int64_t n, int64_t inner, int64_t k, int64_t largest);

/* Positions of the elements that are not zero (NaN is not zero, -0 is), ascending: y [*count], at most n. */
void lt_nonzero(const void *x, int64_t *y, int64_t *count, int64_t elem, int64_t n);

/* ONNX Unique (opset 11). Compares the n slices of x [outer, n, inner] along the axis (outer and inner 1: the
 * elements of a flat x). Writes for each distinct slice its first index and how often it occurs (first, counts:
 * *count of at most n), and for each slice which distinct one it is (inverse [n]). sorted: ascending, slices
 * compared element by element in row-major order; else: in the order of first occurrence. NaNs are equal.
 * scratch: 3 * n. */
void lt_unique(const void *x, int64_t *first, int64_t *inverse, int64_t *counts, int64_t *count, int64_t *scratch,
               int64_t elem, int64_t outer, int64_t n, int64_t inner, int64_t sorted);

/* ONNX NonMaxSuppression (opset 11). boxes f32 [B, N, 4], scores f32 [B, C, N]. Per batch and class, boxes by
 * descending score (equal: lower index first), each dropped when its score is not above *score_threshold or when its
 * intersection over union with a chosen one is above *iou_threshold; at most *max_out are chosen (0: none).
 * y [*count, 3] of (batch, class, box), at most B * C * min(N, *max_out). Boxes are two opposite corners y1 x1
 * y2 x2 in any order, or with centre = 1 x_centre y_centre width height. scratch: 3 * N. */
void lt_nms(const float *boxes, const float *scores, const int64_t *max_out, const float *iou_threshold,
            const float *score_threshold, int64_t *y, int64_t *count, int64_t *scratch, int64_t B, int64_t C,
            int64_t N, int64_t centre);

/* ONNX RoiAlign (opset 16). x [N, C, H, W], rois [R, 4] as x0 y0 x1 y1 in elements of x, batch [R] -> y [R, C, PH, PW].
 * Each bin is the mean (max = 1: the largest weighted corner) of ratio x ratio samples, linearly interpolated;
 * ratio 0: as many as elements fit into the bin, rounded up. A region with a batch outside of x gives zeros. */
void lt_roi_align(const float *x, const float *rois, const int64_t *batch, float *y, int64_t N, int64_t C, int64_t H,
                  int64_t W, int64_t R, int64_t PH, int64_t PW, int64_t ratio, int64_t max);

/* Its gradient by x: dy [R, C, PH, PW] -> dx [N, C, H, W]. By the regions there is none, as in torchvision: how many
 * samples a bin has, and which elements they read, jumps as they move. */
void lt_roi_align_grad(const float *x, const float *rois, const int64_t *batch, const float *dy, float *dx,
                       int64_t N, int64_t C,
                       int64_t H, int64_t W, int64_t R, int64_t PH, int64_t PW, int64_t ratio, int64_t max);

/* Connectionist temporal classification: the negative log likelihood of a target, over all ways to spread it over the
 * moments with blanks between, and its gradient. lp [T, N, C]: log probabilities; target [N, S] of symbols below C that
 * are not blank; lengths [N] of both (clamped to T and S). loss [N]; grad [T, N, C] = d loss[n] / d lp. A target that
 * does not fit into its moments costs infinity and has gradient 0; one with a symbol that does not exist costs NaN.
 * scratch: (T + 2) * (2 * S + 1). Graves et al., ICML 2006. */
void lt_ctc_loss(const float *lp, const int64_t *target, const int64_t *in_length, const int64_t *target_length,
                 float *loss,
                 float *grad, float *scratch, int64_t T, int64_t N, int64_t C, int64_t S, int64_t blank);

/* ---- random.c: numbers that are a function of (seed, step, stream, index), never of thread or order ---- */

/* Philox 4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
 * Ten rounds on a counter of four words with a key of two; out may be counter. */
void lt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* y [n]: uniform in [0, 1), multiples of 2^-24; or normal with mean 0 and variance 1 (Box-Muller).
 * Element i comes from word i % 4 of the block with counter (i / 4, stream, step) and key seed.
 * n is at most 2^34, stream below 2^32. Streams tell tensors apart, steps the calls of one model. step: NULL is 0;
 * steps = 2: step[1] is added to the seed. Written is shift + scale * number. */
void lt_random_uniform(const int64_t *step, float *y, int64_t steps, int64_t n, int64_t seed, int64_t stream,
                       float scale, float shift);
void lt_random_normal(const int64_t *step, float *y, int64_t steps, int64_t n, int64_t seed, int64_t stream,
                      float scale, float shift);
#endif
