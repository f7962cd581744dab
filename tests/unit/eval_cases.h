/* What each op computes, one row per case: op, attributes, inputs, expected outputs. Tensors are text: type, then
 * elements in row-major order; "" is an absent input or an output nobody checks. Expected values were worked out
 * by hand, or by numpy, torch or onnx.reference where it says so; never by lathe. */

/* elementwise: by hand */
  {"add", "", {"f32[3] 1 2 3", "f32[1] 10"}, {"f32[3] 11 12 13"}},
  {"mul", "", {"f32[2,1] 1 2", "f32[3] 3 4 5"}, {"f32[2,3] 3 4 5 6 8 10"}},  // broadcast both ways
  {"add", "", {"u8[2] 250 3", "u8[2] 10 4"}, {"u8[2] 4 7"}},  // wraps
  {"sub", "", {"i32[1] -2147483648", "i32[1] 1"}, {"i32[1] 2147483647"}},  // wraps
  {"div", "", {"i32[3] 7 -7 5", "i32[3] 2 2 0"}, {"i32[3] 3 -3 0"}},  // towards zero; x/0 = 0
  {"mod", "", {"i32[3] 7 -7 7", "i32[3] 3 3 -3"}, {"i32[3] 1 2 -2"}},  // sign of b
  {"fmod", "", {"f32[2] 7.5 -7.5", "f32[2] 2 2"}, {"f32[2] 1.5 -1.5"}},  // sign of a
  {"max", "", {"f32[3] 1 nan 3", "f32[3] 2 2 2"}, {"f32[3] 2 nan 3"}},  // NaN if either is
  {"round", "", {"f32[5] 0.5 1.5 2.5 -0.5 -1.5"}, {"f32[5] 0 2 2 0 -2"}},  // half to even
  {"lt", "", {"u8[2] 200 3", "u8[2] 100 100"}, {"bool[2] 0 1"}},
  {"where", "", {"bool[2] 1 0", "i64[2] 5 6", "i64[1] 7"}, {"i64[2] 5 7"}},
  {"exp", "", {"f32[2,0] "}, {"f32[2,0] "}},  // empty
  {"neg", "", {"f32[] 3"}, {"f32[] -3"}},  // rank 0
  {"div", "", {"f16[1] 1", "f16[1] 3"}, {"f16[1] 0.333252"}},  // rounded to f16

/* views: by hand, numpy for pad */
  {"reshape", "shape=3,2", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[3,2] 0 1 2 3 4 5"}},
  {"transpose", "perm=1,0", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[3,2] 0 3 1 4 2 5"}},
  {"expand", "shape=2,2", {"f32[2] 1 2"}, {"f32[2,2] 1 2 1 2"}},
  {"slice", "starts=1,2 steps=-1,-2 shape=2,2", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[2,2] 5 3 2 0"}},  // negative step
  {"pad", "before=1,0 after=0,1 mode=constant", {"f32[2,3] 0 1 2 3 4 5", "f32[] 9"}, {"f32[3,4] 9 9 9 9 0 1 2 9 3 4 5 9"}},
  {"pad", "before=0,2 after=1,0 mode=reflect", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[3,5] 2 1 0 1 2 5 4 3 4 5 2 1 0 1 2"}},
  {"pad", "before=0,4 after=1,0 mode=edge", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[3,7] 0 0 0 0 0 1 2 3 3 3 3 3 4 5 3 3 3 3 3 4 5"}},
  {"pad", "before=0,4 after=1,0 mode=wrap", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[3,7] 2 0 1 2 0 1 2 5 3 4 5 3 4 5 2 0 1 2 0 1 2"}},
  {"pad", "before=-1,0 after=0,-2 mode=constant", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[1,1] 3"}},  // crops
  {"concat", "axis=1", {"f32[2,3] 0 1 2 3 4 5", "f32[2,1] 0 3"}, {"f32[2,4] 0 1 2 0 3 4 5 3"}},
  {"gather", "axis=1", {"f32[2,3] 0 1 2 3 4 5", "i64[2] -1 0"}, {"f32[2,2] 2 0 5 3"}},
  {"gather_elements", "axis=1", {"f32[2,3] 0 1 2 3 4 5", "i64[2,2] 2 0 -1 1"}, {"f32[2,2] 2 0 5 4"}},
  {"gather_nd", "batch_dims=0", {"f32[2,3] 0 1 2 3 4 5", "i64[2,2] 1 2 0 0"}, {"f32[2] 5 0"}},
  {"gather_nd", "batch_dims=1", {"f32[2,3] 0 1 2 3 4 5", "i64[2,1] 1 2"}, {"f32[2] 1 5"}},
  {"iota", "dtype=i32 shape=2,2 axis=1", {}, {"i32[2,2] 0 1 0 1"}},
  {"dims", "dims=4,5 rank=1", {}, {"i64[2] 4 5"}},
  {"cast", "to=i8", {"f32[4] 1.9 -1.9 300 nan"}, {"i8[4] 1 -1 44 0"}},  // towards zero, then the low bits; NaN 0
  {"cast", "to=u8", {"i32[3] -1 256 7"}, {"u8[3] 255 0 7"}},  // integers wrap
  {"cast", "to=f32", {"i64[1] 4611686293305294849"}, {"f32[1] 4.611686018427388e+18"}},  // one rounding
  {"cast", "to=bool", {"f32[2] 0 -0.5"}, {"bool[2] 0 1"}},
  {"bitcast", "to=i32", {"f32[1] 1"}, {"i32[1] 1065353216"}},  // 1.0f
  {"copy", "", {"f32[2,3] 0 1 2 3 4 5"}, {"f32[2,3] 0 1 2 3 4 5"}},

/* matmul, conv: numpy and torch */
  {"matmul", "", {"f32[2,1,2,3] -0.25 0 1.25 2.25 -2.25 -1.75 1.5 2.25 -1.25 -1 1.75 -0.25", "f32[3,2] -1 1.5 -1.25 -0.5 0.75 0.25"}, {"f32[2,1,2,2] 1.1875 -0.0625 -0.75 4.0625 -5.25 0.8125 -1.375 -2.4375"}},
  {"matmul", "", {"i32[1,2] 1048576 1", "i32[2,1] 4096 5"}, {"i32[1,1] 5"}},  // wraps
  {"conv", "strides=2,1 pads=1,0,0,1 dilations=1,1 group=1", {"f32[1,2,3,4] -2 -2.25 1.75 1.25 1.5 0.25 1.5 -0.75 -0.25 1.25 -1.75 -1 -1.75 -0.25 2.25 -1.75 -0.5 -0.5 2 -1.5 0 -1.25 -2.25 1.25", "f32[2,2,2,2] -2 -1 0 0 -1.75 2.25 1.25 2.25 -2 1 -1 0.25 2 -1 1 -1.5", "f32[2] -0.75 2.25"}, {"f32[1,2,2,4] -3.5 4 -1.875 -2.9375 -7.0625 -4 -9.875 4.9375 2.3125 1.3125 5.6875 -0.75 1.4375 0.6875 1.375 3"}},  // torch
  {"conv", "strides=1,1 pads=0,0,0,0 dilations=2,2 group=2", {"f32[1,2,3,4] -2 -2.25 1.75 1.25 1.5 0.25 1.5 -0.75 -0.25 1.25 -1.75 -1 -1.75 -0.25 2.25 -1.75 -0.5 -0.5 2 -1.5 0 -1.25 -2.25 1.25", "f32[2,1,2,2] -0.25 0 -1 -1.75 -0.25 0.5 -0.25 1.25"}, {"f32[1,2,1,2] 3.8125 1.0625 -1.25 1.0625"}},  // torch, depthwise
  {"conv", "strides=2 pads=0,1 dilations=1 group=1", {"i32[1,1,5] -2 1 2 4 -1", "i32[1,1,2] -5 2"}, {"i32[1,1,3] 12 -2 5"}},  // torch
  {"conv", "strides=1,1 pads=0,0,0,0 dilations=1,1 group=1", {"f32[1,3,1,2] 0.25 1.75 -0.25 -0.75 -2 -0.25", "f32[2,3,1,1] 0.75 1.25 1.75 -1.25 0.5 1.5"}, {"f32[1,2,1,2] -3.625 -0.0625 -3.4375 -2.9375"}},  // 1x1: numpy
  {"conv_transpose", "strides=2 pads=1,1 dilations=1 output_padding=1 group=1", {"f32[1,2,2] -1.25 -0.75 1.5 0.5", "f32[2,1,3] 0 0.75 0 2.25 1.25 -2"}, {"f32[1,1,4] 0.9375 -1.875 0.0625 -1"}},  // torch

/* pools: torch */
  {"max_pool", "kernel=2,2 strides=2,2 pads=1,1,1,1 dilations=1,1 ceil=0", {"f32[1,1,3,4] -1.75 0.25 1.5 -2 0.75 1.25 1.25 1.75 -1.5 0.25 1.5 -0.75"}, {"f32[1,1,2,3] -1.75 1.5 -2 0.75 1.5 1.75", "i64[1,1,2,3] 0 2 3 4 10 7"}},
  {"max_pool", "kernel=3,4 strides=1,1 pads=0,0,0,0 dilations=1,1 ceil=0 storage_order=1", {"i8[1,1,3,4] 0 0 0 0 0 0 9 0 0 0 0 0"}, {"i8[1,1,1,1] 9", "i64[1,1,1,1] 7"}},  // storage_order: x positions count down the columns
  {"avg_pool", "kernel=2,2 strides=2,2 pads=1,1,1,1 dilations=1,1 ceil=1 count_include_pad=0", {"f32[1,1,3,4] -1.75 0.25 1.5 -2 0.75 1.25 1.25 1.75 -1.5 0.25 1.5 -0.75"}, {"f32[1,1,2,3] -1.75 0.875 -2 -0.375 1.0625 0.5"}},
  {"avg_pool", "kernel=2,2 strides=2,2 pads=1,1,1,1 dilations=1,1 ceil=1 count_include_pad=1", {"f32[1,1,3,4] -1.75 0.25 1.5 -2 0.75 1.25 1.25 1.75 -1.5 0.25 1.5 -0.75"}, {"f32[1,1,2,3] -0.4375 0.4375 -0.5 -0.1875 1.0625 0.25"}},
  {"lp_pool", "kernel=2 strides=1 pads=0,0 dilations=1 ceil=0 p=2", {"f32[1,1,3] 3 -4 0"}, {"f32[1,1,2] 5 4"}},  // numpy

/* reductions: by hand and numpy */
  {"reduce_sum", "axes=0,2 keepdims=1", {"f32[2,2,3] -1.5 0 -2 -1.25 1.75 0.75 1.75 1.5 1.75 -1 -0.25 0.5"}, {"f32[1,2,1] 1.5 0.5"}},
  {"reduce_sum", "axes= keepdims=0", {"f32[2] 1 2"}, {"f32[2] 1 2"}},  // no axes: no reduction
  {"reduce_prod", "axes=0 keepdims=0", {"i32[2] 3 -4"}, {"i32[] -12"}},
  {"reduce_max", "axes=1 keepdims=0", {"u8[2,2] 1 200 7 3"}, {"u8[2] 200 7"}},
  {"reduce_max", "axes=1 keepdims=0", {"f32[1,0] "}, {"f32[1] -inf"}},  // of nothing
  {"reduce_min", "axes=1 keepdims=0", {"i8[1,0] "}, {"i8[1] 127"}},  // of nothing
  {"argmax", "axis=0 keepdims=0 select_last=0", {"f32[3] 1 3 3"}, {"i64[] 1"}},  // first of equals
  {"argmin", "axis=1 keepdims=1 select_last=1", {"i32[1,4] 4 2 2 9"}, {"i64[1,1] 2"}},
  {"cumsum", "axis=0 exclusive=1 reverse=0", {"f32[3] 1 2 3"}, {"f32[3] 0 1 3"}},
  {"cumsum", "axis=0 exclusive=0 reverse=1", {"i32[3] 1 2 3"}, {"i32[3] 6 5 3"}},
  {"cumprod", "axis=0 exclusive=0 reverse=0", {"f32[3] 2 3 4"}, {"f32[3] 2 6 24"}},
  {"softmax", "axis=1", {"f32[1,3] 1 2 1000"}, {"f32[1,3] 0 0 1"}},  // torch
  {"softmax", "axis=0", {"f32[2,2] -1 2 -2.25 1.5"}, {"f32[2,2] 0.7772999 0.6224594 0.2227001 0.3775407"}},  // torch
  {"log_softmax", "axis=1", {"f32[2,2] -1 2 -2.25 1.5"}, {"f32[2,2] -3.0485873 -0.0485873 -3.7732453 -0.0232454"}},  // torch
  {"layer_norm", "axis=1 epsilon=0.001", {"f32[2,3] 0.75 -1.25 1 -0.5 1.5 2.25", "f32[3] -1 -0.25 -1.25", "f32[3] 1 0.75 1.75"}, {"f32[2,3] 0.4209614 1.1015592 0.7160025 2.3636146 0.6602885 0.4940394", "f32[2,1] 0.1666667 1.0833334", "f32[2,1] 0.9926376 0.8612301"}},  // onnx.reference
  {"rms_norm", "axis=1 epsilon=0.001", {"f32[2,3] 0.75 -1.25 1 -0.5 1.5 2.25", "f32[3] -1 -0.25 -1.25"}, {"f32[2,3] -0.7344944 0.3060393 -1.2241573 0.3148559 -0.2361419 -1.7710644"}},  // numpy

/* recurrent: onnx.reference; sequence lengths: torch (see the commit) */
  {"lstm", "hidden=1 direction=forward activations=Sigmoid,Tanh,Tanh alpha= beta= clip=0 input_forget=0", {"f32[2,1,2] 1.5 2.25 2.25 2", "f32[1,4,2] 0 -0.75 1.75 1.5 -0.25 0.25 0.5 1.75", "f32[1,4,1] -2.25 0 0.75 -0.25", "f32[1,8] 2 2.25 1.5 -0.25 1.75 -2 0.75 -1", "", "f32[1,1,1] -1.75", "f32[1,1,1] -2.25", "f32[1,3] -1.25 0.75 1.25"}, {"f32[2,1,1,1] 0.5694798 0.8225017", "f32[1,1,1] 0.8225017"}},
  {"gru", "hidden=1 direction=forward activations=Sigmoid,Tanh alpha= beta= clip=0 linear_before_reset=0", {"f32[2,1,2] 1.5 2.25 2.25 2", "f32[1,3,2] 1.75 -1.25 1.75 1.5 -1 -2", "f32[1,3,1] 1.25 1.5 -0.25", "f32[1,6] -1.5 -1.75 -0.5 1.25 -0.75 -2.25", "", "f32[1,1,1] -1.75"}, {"f32[2,1,1,1] -1.0506599 -1.0237384", "f32[1,1,1] -1.0237384"}},
  {"gru", "hidden=1 direction=forward activations=Sigmoid,Tanh alpha= beta= clip=0 linear_before_reset=1", {"f32[2,1,2] 1.5 2.25 2.25 2", "f32[1,3,2] 1.75 -1.25 1.75 1.5 -1 -2", "f32[1,3,1] 1.25 1.5 -0.25", "f32[1,6] -1.5 -1.75 -0.5 1.25 -0.75 -2.25", "", "f32[1,1,1] -1.75"}, {"f32[2,1,1,1] -1.0506597 -1.0237384", "f32[1,1,1] -1.0237384"}},
  /* h = relu(x + h), backwards over 2 of 3 steps: 3, then 1 + 3 */
  {"rnn", "hidden=1 direction=reverse activations=Relu alpha= beta= clip=0", {"f32[3,1,1] 1 3 100", "f32[1,1,1] 1", "f32[1,1,1] 1", "", "i32[1] 2"}, {"f32[3,1,1,1] 4 3 0", "f32[1,1,1] 4"}},  // by hand

/* sampling: onnx.reference and torch */
  {"resize", "shape=1,1,4,4 scales=1.0,1.0,2.0,2.0 mode=nearest coord=asymmetric nearest=floor cubic_a=-0.75 exclude_outside=0 extrapolation=0 antialias=0", {"f32[1,1,2,2] 1 2 3 4"}, {"f32[1,1,4,4] 1 1 2 2 1 1 2 2 3 3 4 4 3 3 4 4"}},
  {"resize", "shape=1,1,3,1 scales=1.0,1.0,1.5,0.5 mode=nearest coord=half_pixel nearest=round_prefer_floor cubic_a=-0.75 exclude_outside=0 extrapolation=0 antialias=0", {"f32[1,1,2,2] 1 2 3 4"}, {"f32[1,1,3,1] 1 1 3"}},
  {"resize", "shape=1,1,3,3 scales=1.0,1.0,1.5,1.5 mode=linear coord=align_corners nearest=round_prefer_floor cubic_a=-0.75 exclude_outside=0 extrapolation=0 antialias=0", {"f32[1,1,2,2] 1 2 3 4"}, {"f32[1,1,3,3] 1 1.5 2 2 2.5 3 3 3.5 4"}},
  {"resize", "shape=1,1,1,3 scales=1.0,1.0,0.5,1.5 mode=linear coord=half_pixel nearest=round_prefer_floor cubic_a=-0.75 exclude_outside=0 extrapolation=0 antialias=0", {"f32[1,1,2,2] 1 2 3 4"}, {"f32[1,1,1,3] 2 2.5 3"}},
  {"resize", "shape=1,1,2,3 scales=1.0,1.0,1.0,1.5 mode=cubic coord=half_pixel nearest=round_prefer_floor cubic_a=-0.75 exclude_outside=1 extrapolation=0 antialias=0", {"f32[1,1,2,2] 1 2 3 4"}, {"f32[1,1,2,3] 0.8986486 1.5 2.1013515 2.8986485 3.5 4.1013513"}},
  {"resize", "shape=1,1,1,2 scales=1.0,1.0,0.3333333432674408,0.5 mode=linear coord=half_pixel nearest=round_prefer_floor cubic_a=-0.75 exclude_outside=0 extrapolation=0 antialias=1", {"f32[1,1,3,4] 0 1 2 3 4 5 6 7 8 9 10 11"}, {"f32[1,1,1,2] 4.625 6.375"}},
  {"resize", "shape=1,1,2,2 scales=1.0,1.0,0.6666666865348816,0.5 mode=cubic coord=half_pixel nearest=round_prefer_floor cubic_a=-0.75 exclude_outside=0 extrapolation=0 antialias=1", {"f32[1,1,3,4] 0 1 4 9 16 25 36 49 64 81 100 121"}, {"f32[1,1,2,2] 3.2267001 13.4365644 56.6105423 90.8303604"}},
  {"grid_sample", "mode=linear padding=zeros align_corners=0", {"f32[1,1,2,3] 1 1.25 -1.5 0.25 -0.5 0", "f32[1,1,3,2] -1.2 0.1 0.5 -0.7 0.9 1.4"}, {"f32[1,1,1,3] 0.11 -0.65 0"}},  // torch
  {"grid_sample", "mode=nearest padding=border align_corners=1", {"f32[1,1,2,3] 1 1.25 -1.5 0.25 -0.5 0", "f32[1,1,3,2] -1.2 0.1 0.5 -0.7 0.9 1.4"}, {"f32[1,1,1,3] 0.25 -1.5 0"}},  // torch
  {"grid_sample", "mode=cubic padding=reflection align_corners=0", {"f32[1,1,2,3] 1 1.25 -1.5 0.25 -0.5 0", "f32[1,1,3,2] -1.2 0.1 0.5 -0.7 0.9 1.4"}, {"f32[1,1,1,3] 0.5844396 -0.955586 0.2239929"}},  // torch

/* scatter: by hand */
  {"scatter_elements", "axis=0 reduction=none", {"f32[3] 1 2 3", "i64[2] -1 0", "f32[2] 7 8"}, {"f32[3] 8 2 7"}},
  {"scatter_elements", "axis=0 reduction=add", {"f32[3] 1 2 3", "i64[2] 1 1", "f32[2] 7 8"}, {"f32[3] 1 17 3"}},
  {"scatter_nd", "reduction=max", {"i32[2,2] 1 2 3 4", "i64[1,1] 1", "i32[1,2] 0 9"}, {"i32[2,2] 1 2 3 9"}},

/* irregular work: by hand */
  {"topk", "axis=0 k=3 largest=1 sorted=1", {"f32[4] 2 5 nan 5"}, {"f32[3] nan 5 5", "i64[3] 2 1 3"}},  // ties: lower index; NaN is the largest
  {"topk", "axis=0 k=2 largest=0 sorted=1", {"i8[4] 0 -128 127 -1"}, {"i8[2] -128 -1", "i64[2] 1 3"}},
  {"nonzero", "", {"f32[4] 0 3 -0 nan"}, {"i64[2] 1 3"}},  // -0 is 0, NaN is not
  {"unique", "axis=0 sorted=1", {"i64[5] 5 2 5 9 2"}, {"i64[3] 1 0 3", "i64[5] 1 0 1 2 0", "i64[3] 2 2 1"}},
  {"unique", "axis=0 sorted=0", {"i64[5] 5 2 5 9 2"}, {"i64[3] 0 1 3", "i64[5] 0 1 0 2 1", "i64[3] 2 2 1"}},
  {"unique", "axis=0 sorted=1", {"f32[3,2] 1 1 0 2 1 1"}, {"i64[2] 1 0", "i64[3] 1 0 1", "i64[2] 1 2"}},  // rows
  {"nms", "centre=0", {"f32[1,3,4] 0 0 1 1 0 0.1 1 1.1 0 2 1 3", "f32[1,1,3] 0.9 0.8 0.7", "i64[1] 3", "f32[1] 0.5", "f32[1] 0"}, {"i64[2,3] 0 0 0 0 0 2"}},  // box 1 overlaps box 0 by 0.9 / 1.1
  {"roi_align", "height=1 width=2 ratio=1 max=0", {"f32[1,1,2,3] 0 2 4 10 12 14", "f32[1,4] 0 0 2 1", "i64[1] 0"}, {"f32[1,1,1,2] 6 8"}},  // x = 0.5 and 1.5, y = 0.5
