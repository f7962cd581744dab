/* Inside of the reader of IR text: graph_parse.c (modules, nodes) and graph_parse_words.c (what they are spelled
 * with) only. */
#ifndef IR_GRAPH_PARSE_H
#define IR_GRAPH_PARSE_H
#include "ir/graph_text.h"

typedef struct Parser {
  Module *m;
  Diags *d;
  const char *start, *s;
  char *weights;                       /* the side file */
  size_t nweights;
  const char *weights_path;
  const Module *constants;             /* where large constants are found instead; NULL: the side file */
  VEC(struct { ValueId value; const char *at; }) later;   /* storage, see skip_storage */
  int depth;
  bool failed;
} Parser;

/* Returns false. The first one counts: later ones say nothing. */
bool parse_fail(Parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void parse_skip(Parser *p);                            /* blanks and comments */
bool parse_eat(Parser *p, const char *word);           /* a mark or a whole word, if it is there */
bool parse_expect(Parser *p, const char *word);
const char *parse_string(Parser *p);                   /* NULL: none here */
const char *parse_word(Parser *p);                     /* plain or quoted; NULL after an error */
bool parse_integer(Parser *p, int64_t *v);
bool parse_real(Parser *p, double *v);
bool parse_dim(Parser *p, Dim *d);
bool parse_dim_list(Parser *p, const Dim **out, int *n);                /* after "[": up to "]" */
bool parse_type(Parser *p, Type *t);
bool parse_tensor(Parser *p, const Type *t, const Tensor **out);        /* a constant of that type */
#endif
