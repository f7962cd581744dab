/* A csv file with its header, for the readers that take columns of one: csv, and words, characters and labels with
 * column=. Part of lt_data. */
#ifndef LT_DATA_TABLE_H
#define LT_DATA_TABLE_H
#include "lt_csv.h"
#include "lt_data_kit.h"

typedef struct lt_table {
  const char *file;
  char *bytes;                       /* kept; fields are pieces of it */
  lt_csv csv;
  int fields, header, pending;       /* pending: the record at hand is a row not yet given */
  char **name;                       /* [fields] when there is a header */
} lt_table;

int lt_table_open(lt_data *d, lt_table *t, int file);          /* 0 or -1; close it either way */
int lt_table_next(lt_data *d, lt_table *t);                    /* 1: t->csv has a record; 0: the end; -1: an error */
int lt_table_column(lt_data *d, const lt_table *t);            /* index of the option's column; -1: an error */
void lt_table_close(lt_table *t);
#endif
