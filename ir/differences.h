/* Derivatives by finite differences: what gradients are checked against. */
#ifndef IR_DIFFERENCES_H
#define IR_DIFFERENCES_H
#include "ir/eval.h"

/* d output 0 / d element `at` of input k, where the module (evaluated in double) gives one number as output 0. in[k] is
 * changed and put back. Two central differences of steps h and 2h, extrapolated: the error falls with h^4, so that the
 * usual h of 1e-3 leaves 1e-9; smaller ones keep clear of kinks and lose digits. For elements beyond 1, h is relative.
 * False: evaluation failed, the module's diags say why. */
bool eval_slope(Module *m, Tensor *const *in, int k, int64_t at, double h, double *slope);
/* Before: what passes a stop_gradient of the main graph is a constant to the gradient, so it must not move here. Such
 * values become inputs with the value they have at this point: returns all inputs, `in` first, in a. NULL: as above. */
Tensor **eval_freeze(Module *m, Tensor *const *in, Arena *a);
#endif
