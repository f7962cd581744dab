/* Derivatives by finite differences: what gradients are checked against. */
#ifndef IR_DIFFERENCES_H
#define IR_DIFFERENCES_H
#include "ir/eval.h"

/* d output 0 / d element `at` of input k, where the module (evaluated in double) gives one number as output 0. in[k] is
 * changed and put back. Two central differences of steps h and 2h, extrapolated: the error falls with h^4, h about 1e-3.
 * False: evaluation failed, the module's diags say why. */
bool eval_slope(Module *m, Tensor *const *in, int k, int64_t at, double *slope);
/* Output 0 there. */
bool eval_number(Module *m, Tensor *const *in, double *y);
#endif
