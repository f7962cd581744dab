/* Random small texts of the network language, the same for the same seed: two nets after each other, of vectors, images
 * or sequences, a loss, and a step with some optimizer. They exist to be compiled, not to learn. */
#ifndef TESTS_RANDOM_NET_H
#define TESTS_RANDOM_NET_H
#include "base/text.h"
#include <stdint.h>

void random_net(Text *t, uint64_t seed);
#endif
