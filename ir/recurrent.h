/* What lstm, gru and rnn nodes, and their gradients, say about themselves: gates, directions, activations.
 * Inference, the evaluator, the gradient's rules and the lowering all read it here. */
#ifndef IR_RECURRENT_H
#define IR_RECURRENT_H
#include "ir/graph.h"

typedef enum {
  ACT_TANH, ACT_SIGMOID, ACT_RELU, ACT_AFFINE, ACT_LEAKY_RELU, ACT_THRESHOLDED_RELU, ACT_SCALED_TANH, ACT_HARD_SIGMOID,
  ACT_ELU, ACT_SOFTSIGN, ACT_SOFTPLUS, ACT_COUNT
} ActivationKind;

typedef struct Activation { ActivationKind kind; double alpha, beta; } Activation;

bool activation_find(const char *name, ActivationKind *kind);          /* ONNX's names; case does not matter */
double activation_value(const Activation *f, double x);
double activation_slope(const Activation *f, double x);                /* its derivative; at a corner, the left one */

int recurrent_gates(const Node *n);                                    /* 4, 3 or 1 */
int recurrent_activations(const Node *n);                              /* per direction: 3, 2 or 1 */
int recurrent_directions(const Node *n);
static inline bool recurrent_backwards(const Node *n, int d) {
  return d == 1 || node_str(n, "direction", "forward")[0] == 'r';
}
Activation recurrent_activation(const Node *n, int d, int which);      /* the node's, else the default of its op */
#endif
