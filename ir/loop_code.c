/* Kernel -> code of ir/loop_code.h. A temporary may take the cells of the arguments it is computed from: every
 * instruction reads lane l of its arguments before it writes lane l, and scalars before anything. */
#include "ir/loop_code.h"

/* ---- cells ---- */

static unsigned hash(const Var *v, int size) {
  return (unsigned)(((uintptr_t)v >> 4) * 2654435761u) & (unsigned)(size - 1);
}

static void table_put(Code *c, int k) {
  unsigned h = hash(c->vars.at[k].var, c->table_size);
  while (c->table[h]) h = (h + 1) & (unsigned)(c->table_size - 1);
  c->table[h] = k + 1;
}

static void add_var(Code *c, const Var *v, int cells) {
  vec_push(c->arena, &c->vars);
  c->vars.at[c->vars.len - 1].var = v;
  c->vars.at[c->vars.len - 1].at = c->fixed;
  c->fixed += cells;
}

static void add_vars(Code *c, const Block *s) {
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    if (t->kind == ST_LET) add_var(c, t->var, t->var->lanes);
    if (t->kind == ST_FOR) add_var(c, t->var, 2);               // the index and where it ends
    if (t->body) add_vars(c, t->body);
    if (t->other) add_vars(c, t->other);
  }
}

int code_var(const Code *c, const Var *v) {
  for (unsigned h = hash(v, c->table_size); c->table[h]; h = (h + 1) & (unsigned)(c->table_size - 1))
    if (c->vars.at[c->table[h] - 1].var == v) return c->vars.at[c->table[h] - 1].at;
  BUG("loop interpreter: kernel %s: '%s' is not declared", c->kernel->name, v->name);
}

static int temp(Code *c, int lanes) {
  int at = c->temp;
  c->temp += lanes;
  if (c->temp > c->cells) c->cells = c->temp;
  return at;
}

static Instr *emit(Code *c, CodeOp op, int lanes) {
  Instr *i = vec_push(c->arena, &c->code);
  *i = (Instr){.op = op, .lanes = lanes, .at = c->at};
  return i;
}

/* Constants are pushed lane by lane and read backwards in memory; all lanes are equal, so order is no matter. */
static int constant(Code *c, const Expr *e, int lanes) {
  Cell v;
  if (dtype_is_float(e->elem)) v.f = e->f;
  else v.i = e->i;
  if (lanes == 1)
    for (int i = 0; i < c->constants.len; i++)
      if (c->constants.at[i].i == v.i) return -1 - i;
  for (int i = 0; i < lanes; i++) *vec_push(c->arena, &c->constants) = v;
  return -c->constants.len;
}

/* ---- expressions ---- */

static int compile(Code *c, const Expr *e);

static int compile_select(Code *c, const Expr *e) {              /* one condition for all lanes: lazy */
  int mark = c->temp, cond = compile(c, e->arg[0]);
  int skip = c->code.len;
  emit(c, DO_JUMP_IF_NOT, 1)->a = cond;
  c->temp = mark;
  int dst = temp(c, e->lanes), end = 0;
  for (int arm = 1; arm <= 2; arm++) {
    int keep = c->temp, x = compile(c, e->arg[arm]);
    Instr *m = emit(c, DO_MOVE, e->lanes);
    m->dst = dst;
    m->a = x;
    c->temp = keep;
    if (arm == 1) {
      end = c->code.len;
      emit(c, DO_JUMP, 1);
      c->code.at[skip].jump = c->code.len;
    }
  }
  c->code.at[end].jump = c->code.len;
  return dst;
}

static CodeOp op_of(const Expr *e, DType in) {
  if (e->op == S_WHERE) return DO_SELECT;
  if (in == DT_F32) {
    if (e->op == S_ADD) return DO_ADD_F32;
    if (e->op == S_SUB) return DO_SUB_F32;
    if (e->op == S_MUL) return DO_MUL_F32;
  }
  if (in == DT_I64) {
    if (e->op == S_ADD) return DO_ADD_I64;
    if (e->op == S_SUB) return DO_SUB_I64;
    if (e->op == S_MUL) return DO_MUL_I64;
    if (e->op == S_LT) return DO_LT_I64;
  }
  if (dtype_is_float(in)) return DO_FLOAT;
  return dtype_info[in].cls == CLASS_UINT ? DO_UINT : DO_INT;
}

static int compile(Code *c, const Expr *e) {
  if (e->kind == EX_CONST) return constant(c, e, 1);
  if (e->kind == EX_VAR) return code_var(c, e->var);
  if (e->kind == EX_SPLAT && e->arg[0]->kind == EX_CONST) return constant(c, e->arg[0], e->lanes);
  if (e->kind == EX_SCALAR && e->op == S_WHERE && e->arg[0]->lanes == 1) return compile_select(c, e);
  int mark = c->temp, a[3] = {0};
  bool run = e->kind == EX_LOAD && (e->lanes == 1 || (e->arg[0]->kind == EX_RAMP && e->arg[0]->arg[1]->i == 1));
  if (run && e->lanes > 1) a[0] = compile(c, e->arg[0]->arg[0]);
  else
    for (int i = 0; i < 3 && e->arg[i]; i++)
      if (!(e->kind == EX_RAMP && i == 1)) a[i] = compile(c, e->arg[i]);
  c->temp = mark;
  int dst = temp(c, e->lanes);
  CodeOp op = DO_END;
  switch (e->kind) {
  case EX_LOAD: op = run ? DO_LOAD_RUN : DO_LOAD; break;
  case EX_SCALAR: op = op_of(e, e->arg[scalar_info[e->op].arity - 1]->elem); break;
  case EX_FMA: op = e->elem == DT_F32 ? DO_FMA_F32 : DO_FMA_F64; break;
  case EX_CAST: op = DO_CAST; break;
  case EX_BITS: op = DO_BITS; break;
  case EX_SPLAT: op = DO_SPLAT; break;
  case EX_RAMP: op = DO_RAMP; break;
  case EX_REDUCE: op = DO_REDUCE; break;
  case EX_PART: op = DO_PART; break;
  case EX_CONST: case EX_VAR: case EXPR_COUNT: break;
  }
  Instr *n = emit(c, op, e->kind == EX_REDUCE ? e->arg[0]->lanes : e->lanes);
  n->dst = dst;
  n->a = a[0];
  n->b = a[1];
  n->c = a[2];
  n->scalar = e->op;
  n->elem = e->elem;
  n->from = e->arg[0]->elem;
  n->buf = e->buf;
  n->k = e->kind == EX_RAMP ? e->arg[1]->i : e->kind == EX_PART ? e->i * e->lanes : e->i;
  return dst;
}

/* Computes e into the cells of a variable: the last instruction writes there itself when it can. */
static void compile_into(Code *c, const Expr *e, int var) {
  int before = c->code.len, x = compile(c, e);
  Instr *last = c->code.len > before ? &c->code.at[c->code.len - 1] : NULL;
  if (last && last->op != DO_MOVE && last->dst == x && x >= c->fixed) { last->dst = var; return; }
  Instr *m = emit(c, DO_MOVE, e->lanes);
  m->dst = var;
  m->a = x;
}

/* ---- statements ---- */

static void compile_block(Code *c, const Block *s);

static void compile_for(Code *c, const Stmt *s) {
  int at = code_var(c, s->var), lo = compile(c, s->lo);
  compile_into(c, s->hi, at + 1);
  bool parallel = s->mode & FOR_PARALLEL;
  if (parallel) emit(c, DO_ENTER, 1)->k = OF_LOOP;
  int start = c->code.len;
  Instr *f = emit(c, DO_FOR, 1);
  f->dst = at;
  f->a = lo;
  f->b = at + 1;
  if (parallel) emit(c, DO_ITERATE, 1);
  compile_block(c, s->body);
  c->at = s;
  Instr *n = emit(c, DO_NEXT, 1);
  n->dst = at;
  n->b = at + 1;
  n->k = s->step;
  n->jump = start + 1;
  c->code.at[start].jump = c->code.len;
  if (parallel) emit(c, DO_LEAVE, 1);
}

static void compile_stmt(Code *c, const Stmt *s);

static void compile_parallel(Code *c, const Block *b) {
  emit(c, DO_ENTER, 1)->k = OF_BLOCK;
  for (int i = 0; i < b->stmts.len; i++) {
    emit(c, DO_ITERATE, 1);
    compile_stmt(c, b->stmts.at[i]);
  }
  emit(c, DO_LEAVE, 1);
}

static void compile_if(Code *c, const Stmt *s) {
  int cond = compile(c, s->cond), skip = c->code.len;
  emit(c, DO_JUMP_IF_NOT, 1)->a = cond;
  compile_block(c, s->body);
  if (s->other) {
    int end = c->code.len;
    emit(c, DO_JUMP, 1);
    c->code.at[skip].jump = c->code.len;
    compile_block(c, s->other);
    c->code.at[end].jump = c->code.len;
  } else {
    c->code.at[skip].jump = c->code.len;
  }
}

static void compile_store(Code *c, const Stmt *s) {
  const Expr *i = s->index;
  bool ramp = i->kind == EX_RAMP && i->arg[1]->i == 1;
  int at = compile(c, ramp ? i->arg[0] : i), value = compile(c, s->value);
  Instr *n = emit(c, ramp || i->lanes == 1 ? DO_STORE_RUN : DO_STORE, i->lanes);
  n->a = at;
  n->b = value;
  n->buf = s->buf;
}

static void compile_call(Code *c, const Stmt *s) {
  int first = temp(c, s->nargs ? s->nargs : 1);
  for (int i = 0; i < s->nargs; i++) {
    int keep = c->temp, x = compile(c, s->args[i]);
    Instr *m = emit(c, DO_MOVE, 1);
    m->dst = first + i;
    m->a = x;
    c->temp = keep;
  }
  emit(c, DO_CALL, 1)->a = first;
}

static void compile_stmt(Code *c, const Stmt *s) {
  c->temp = c->fixed;
  c->at = s;
  switch (s->kind) {
  case ST_BLOCK:
    if (s->mode & FOR_PARALLEL) compile_parallel(c, s->body);
    else compile_block(c, s->body);
    break;
  case ST_FOR: compile_for(c, s); break;
  case ST_IF: compile_if(c, s); break;
  case ST_LET: case ST_SET: compile_into(c, s->value, code_var(c, s->var)); break;
  case ST_STORE: compile_store(c, s); break;
  case ST_CALL: compile_call(c, s); break;
  case ST_NOTE: case ST_PREFETCH: break;
  case STMT_COUNT: BUG("loop interpreter: statement kind");
  }
}

static void compile_block(Code *c, const Block *b) {
  for (int i = 0; i < b->stmts.len; i++) compile_stmt(c, b->stmts.at[i]);
}

Code *code_make(Arena *a, const Kernel *k) {
  Code *c = NEW(a, Code);
  c->arena = a;
  c->kernel = k;
  for (int i = 0; i < k->dim_vars.len; i++) add_var(c, k->dim_vars.at[i], 1);
  add_vars(c, k->body);
  c->table_size = 16;
  while (c->table_size < 2 * c->vars.len + 2) c->table_size *= 2;
  c->table = NEW_N(a, int, c->table_size);
  for (int i = 0; i < c->vars.len; i++) table_put(c, i);
  c->temp = c->cells = c->fixed;
  compile_block(c, k->body);
  emit(c, DO_END, 1);
  return c;
}
