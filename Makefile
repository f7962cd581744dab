# lathe: one Makefile, a map of the project. Sources are listed by folder; each folder may include only
# those named in tools/layers.txt (checked by `make lint`). `make` builds lathe, `make demo` shows it, `make test` proves it.
CC      ?= cc
BUILD   ?= build
WARN     = -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes -Wstrict-prototypes
CFLAGS  ?= -O2 -g
ALL_CFLAGS = $(CFLAGS) $(WARN) -D_POSIX_C_SOURCE=200809L -I. -I$(BUILD) -isystem /usr/include/stb
LDLIBS   = -lprotobuf-c -lm -ldl -lpthread
ifeq ($(SAN),1)
  BUILD  := $(BUILD)/san
  CFLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -DLATHE_POISON
  LDLIBS += -fsanitize=address,undefined
endif

BASE     = $(wildcard base/*.c)
IR       = $(wildcard ir/*.c)
FRONTEND = $(wildcard frontend/*.c)
PASSES   = $(wildcard passes/*.c passes/lower/*.c passes/kernels/*.c)
CODEGEN  = $(wildcard codegen/*.c)
DRIVER   = $(wildcard driver/*.c)
# What lathe shares with compiled models: operators, random numbers, files, checkpoints, and the readers of training data.
RUNTIME  = $(wildcard runtime/op_*.c runtime/lt_data*.c) $(addprefix runtime/,random.c lt_memory.c lt_file.c lt_state.c lt_image.c lt_zip.c lt_csv.c lt_pool.c)
SOURCES  = $(BASE) $(RUNTIME) $(IR) $(FRONTEND) $(PASSES) $(CODEGEN) $(DRIVER)
OBJECTS  = $(SOURCES:%.c=$(BUILD)/%.o)

all: $(BUILD)/lathe

# Everything but the driver is a library: the unit tests link it too, and take only what they use.
LIBRARY  = $(BUILD)/liblathe.a
PROTO    = $(BUILD)/frontend/onnx.pb-c
PARTS    = $(filter-out $(BUILD)/driver/%,$(OBJECTS)) $(PROTO).o $(BUILD)/embed.o

# What the binary carries: the sources that `lathe build` writes beside a model, the mathematics of kernels, and the
# script that runs the peers of `lathe bench --against`.
EMBED    = $(wildcard runtime/*.c runtime/*.h runtime/*.tmpl) driver/peers.py
STB      = $(wildcard /usr/include/stb/stb_image.h)
$(BUILD)/embed.c: tools/embed.c $(EMBED) $(STB)
	@mkdir -p $(BUILD)
	$(CC) -O1 -o $(BUILD)/embed tools/embed.c
	$(BUILD)/embed $(foreach f,$(EMBED) $(STB),$(notdir $(f))=$(f)) > $@
$(BUILD)/embed.o: $(BUILD)/embed.c
	$(CC) $(CFLAGS) -I. -c -o $@ $<

$(LIBRARY): $(PARTS)
	@rm -f $@
	ar qcs $@ $(PARTS)

# The ONNX file format: its decoder is generated from frontend/onnx.proto, before anything that includes it.
$(FRONTEND:%.c=$(BUILD)/%.o) $(DRIVER:%.c=$(BUILD)/%.o): | $(PROTO).h
$(PROTO).c: $(PROTO).h ;
$(PROTO).h: frontend/onnx.proto
	@mkdir -p $(dir $@)
	protoc-c --c_out=$(BUILD) $<
$(PROTO).o: $(PROTO).c
	$(CC) $(CFLAGS) -I$(BUILD) -c -o $@ $<

$(BUILD)/lathe: $(filter $(BUILD)/driver/%,$(OBJECTS)) $(LIBRARY) $(EXTRA_OBJECTS)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/runtime/lt_image.o: WARN += -Wno-unused-function   # of stb_image, which is in it but for what we left out

-include $(OBJECTS:.o=.d)

# One program for all unit tests; `make unit ARGS=--filter=dim/*` runs some.
UNIT = $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/unit/*.c))

$(UNIT): | $(PROTO).h
$(BUILD)/tests/unit/%.o: tests/unit/%.c
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -Wno-pedantic -MMD -MP -c -o $@ $<

$(BUILD)/unit: $(UNIT) $(addprefix $(BUILD)/runtime/lt_,watch.o loader.o run.o curves.o) $(LIBRARY) $(EXTRA_OBJECTS)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS) -lcriterion

-include $(UNIT:.o=.d)

unit: $(BUILD)/unit
	$(BUILD)/unit $(ARGS)

# conform DIR…: ONNX test cases against the evaluator or the emitted code. mutate: damaged files.
$(BUILD)/conform: $(BUILD)/tests/tools/conform.o $(BUILD)/tests/tools/conform_emitted.o $(BUILD)/driver/cases.o $(BUILD)/driver/ports.o $(LIBRARY)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/mutate: $(BUILD)/tests/tools/mutate.o $(LIBRARY)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)
# gradcheck: gradients against finite differences, emitted C against both.
$(BUILD)/gradcheck: $(BUILD)/tests/tools/gradcheck.o $(BUILD)/driver/cases.o $(BUILD)/driver/ports.o $(LIBRARY)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)
# trajectory: ten training steps against PyTorch's numbers; steps: emitted steps against the evaluator's.
TWIN     = $(BUILD)/tests/tools/twin.o $(BUILD)/driver/toolchain.o $(BUILD)/driver/files.o $(LIBRARY)
$(BUILD)/trajectory: $(BUILD)/tests/tools/trajectory.o $(TWIN)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/steps: $(BUILD)/tests/tools/steps.o $(BUILD)/tests/tools/random_net.o $(TWIN)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/tests/tools/conform.o $(BUILD)/tests/tools/mutate.o $(BUILD)/tests/tools/gradcheck.o: | $(PROTO).h
-include $(wildcard $(BUILD)/tests/tools/*.d)

# A trainer around a network written by hand, and around another one, for tests of runtime/lt_train*.c.
TRAINER  = $(patsubst %,$(BUILD)/runtime/lt_%.o,trainer call loader run curves progress watch)
SOFTMAX  = $(BUILD)/tests/train/softmax3 $(BUILD)/tests/train/softmax4
$(BUILD)/tests/train/softmax%: tests/train/softmax.c runtime/lt_train.c $(TRAINER) $(LIBRARY)
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) -DCLASSES=$* -DLT_BUNDLE=lt_bundle_softmax -o $@ $^ -lm -pthread $(filter -fsanitize%,$(LDLIBS))
-include $(TRAINER:.o=.d)

check: unit vecmath

include tests/vecmath/vecmath.mk                            # before its names appear among prerequisites

# The whole proof: every suite of tests/run, and one line that counts. SAN=1: under AddressSanitizer and UBSan.
# `make test SUITES="errors lint"` runs some; `make bless` takes what comes out as what is expected.
TEST_TOOLS = $(BUILD)/lathe $(BUILD)/unit $(BUILD)/conform $(BUILD)/mutate $(BUILD)/gradcheck $(BUILD)/trajectory $(BUILD)/steps $(VECMATH_DIR)/accuracy $(VECMATH_DIR)/sleef $(SOFTMAX)
test:
	tools/install test
	+MAKE="$(MAKE)" BUILD=$(BUILD) SAN=$(SAN) tests/run $(SUITES)

test-tools: $(TEST_TOOLS)

bless: $(TEST_TOOLS)
	BLESS=1 $(BUILD)/unit --filter='*passes/*' >/dev/null 2>&1; true
	BLESS=1 BUILD=$(BUILD) tests/run errors bench language emit ledger

lint: | $(PROTO).h
	BUILD=$(BUILD) tools/lint

# From a clean clone to a digit.
demo:
	tools/install build
	$(MAKE) $(BUILD)/lathe
	$(BUILD)/lathe build examples/digits/digits.onnx -o $(BUILD)/digits
	$(BUILD)/digits examples/digits/seven.png | tee $(BUILD)/demo.txt
	@sed -n "2s/^ *\([0-9]*\):.*/The digit is a \1./p" $(BUILD)/demo.txt


clean:
	rm -rf $(BUILD)

.PHONY: all unit check test test-tools bless lint demo clean
