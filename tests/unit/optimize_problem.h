/* mean((x w + b - y (1 + step % 2))^2). Written by tests/train/make_cases.py. */
static const char problem_x[] = "f32[5,3] -1.96875 1.84375 4.53125 1.25 -1.125 0.71875 0.0625 -3.9375 0.90625 1.875 2.84375 3.1875 -0 0.4375 -2.8125";
static const char problem_y[] = "f32[5,2] -1.40625 -1.53125 1.34375 -0.71875 0.09375 -1.21875 -2.25 -1.0625 -1.75 0.09375";
static const char problem_w[] = "f32[3,2] 2.625 -1.125 1.40625 -0.8125 0.1875 0.40625";
static const char problem_b[] = "f32[2] -3.90625 4.15625";
