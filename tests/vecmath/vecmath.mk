# The functions of runtime/vecmath.tmpl, expanded at all widths and measured with the flags that models
# are built with. `make vecmath` is the quick run, with VECMATH_ARGS=--table a row for each
# function; `make vecmath-bench` prints ns per element.
# VECMATH_ARCH=x86-64 measures the text without fma and AVX.
VECMATH_ARCH  ?= native
VECMATH_DIR    = $(BUILD)/tests/vecmath
VECMATH_FLAGS  = -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wno-unused-function -Wno-psabi -I. -I$(VECMATH_DIR) \
                 -O2 -march=$(VECMATH_ARCH) -fno-math-errno -fno-trapping-math -ffp-contract=fast

$(VECMATH_DIR)/generate: tests/vecmath/generate.c codegen/vecmath.c codegen/vecmath.h
	@mkdir -p $(VECMATH_DIR)
	$(CC) $(ALL_CFLAGS) -o $@ tests/vecmath/generate.c codegen/vecmath.c

$(VECMATH_DIR)/vecmath_all.h: $(VECMATH_DIR)/generate runtime/vecmath.tmpl
	$< runtime/vecmath.tmpl '*/1' '*/2' '*/4' '*/8' '*/16' > $@.tmp && mv $@.tmp $@

$(VECMATH_DIR)/%: tests/vecmath/%.c $(VECMATH_DIR)/vecmath_all.h
	$(CC) $(VECMATH_FLAGS) -o $@ $< -lm

# Beside SLEEF where it is installed (libsleef-dev); the program says SKIPPED where it is not.
SLEEF := $(shell echo '\#include <sleef.h>' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes)
$(VECMATH_DIR)/sleef: tests/vecmath/sleef.c tests/vecmath/ulp.h $(VECMATH_DIR)/vecmath_all.h
	$(CC) $(VECMATH_FLAGS) $(if $(SLEEF),-DHAVE_SLEEF) -o $@ $< $(if $(SLEEF),-lsleef) -lm
$(VECMATH_DIR)/accuracy: tests/vecmath/ulp.h

vecmath-sleef: $(VECMATH_DIR)/sleef
	$<

vecmath: $(VECMATH_DIR)/accuracy
	$< $(VECMATH_ARGS)

vecmath-bench: $(VECMATH_DIR)/bench
	$<

.PHONY: vecmath vecmath-bench vecmath-sleef
