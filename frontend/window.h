/* The sliding window of convolutions and pools: strides, dilations and pads as ONNX nodes give them, with
 * auto_pad turned into numbers (dims, where the input's size is symbolic). */
#ifndef FRONTEND_WINDOW_H
#define FRONTEND_WINDOW_H
#include "frontend/calc.h"

typedef struct Window {
  int n;                                  /* spatial axes */
  Dim kernel[MAX_RANK], stride[MAX_RANK], dilation[MAX_RANK];
  Dim pad[2 * MAX_RANK];                  /* begins, then ends */
} Window;

/* For input `input` [N, C, D1…Dn]. `kernel`: from the weight, or NULL: attribute kernel_shape. */
bool window_read(Import *x, int input, const Dim *kernel, Window *w);
bool window_list(Import *x, const char *name, int n, int64_t dflt, Dim *to);   /* an attribute of n numbers */
Dim  window_extent(const Window *w, int i);                       /* (kernel - 1) * dilation + 1 */
int  window_attrs(Import *x, const Window *w, Attr *a, bool kernel);   /* strides pads dilations [kernel]; count */

/* The canonical nodes take pads that are numbers and not negative. Others (SAME of a symbolic size, cropping) become a
 * pad node here: gives the padded input and sets w's pads to 0. True in *padded when it did. */
ValueId window_pad(Import *x, ValueId in, Window *w, double fill, bool *padded);

/* conv on x [N,C,…], w [M,C/group,…], bias or 0, checked; group from the node's attribute. */
ValueId window_conv(Import *x, ValueId in, ValueId w, ValueId bias, Window *win);
/* avg_pool of v; attributes ceil_mode and count_include_pad are the node's. */
ValueId pool_average(Import *x, ValueId v, Window *w);
#endif
