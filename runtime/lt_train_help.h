/* What a trainer's main (lt_train.c) takes; `lathe train --help` shows it, too. */
#ifndef LT_TRAIN_HELP_H
#define LT_TRAIN_HELP_H

static const char lt_train_options[] =
"  --data NAME=CALL    read a column from elsewhere: --data 'image=idx(\"more.gz\")'; --data help lists the readers\n"
  "  --data-dir DIR      where data files are looked for (the working directory)\n"
  "  --out DIR           checkpoints, log.csv, curves.html, net.lathe (run)\n"
  "  --epochs N          passes over the data; --steps N: batches instead\n"
  "  --lr X              the learning rate; where the text has several, the first, and the others in proportion\n"
  "  --threads N         that compute (as many as there are cores); the result is the same, to the byte\n"
  "  --seed N            of parameters, order, held-out rows, dropout (1)\n"
  "  --resume [FILE]     go on from a checkpoint (DIR/last.state) as if the run had never stopped\n"
  "  --weights FILE      begin with the tensors of a checkpoint that have the same names and shapes\n"
  "  --best NAME         the column of log.csv whose lowest value (+NAME: highest; last: the newest epoch) makes\n"
  "                      best.state: the first val_ column, or loss; with several training steps last\n"
  "  --patience N        stop after N epochs without a better one\n"
  "  --save-every N|Ns   a checkpoint every N steps or seconds, besides each epoch's (60s)\n"
  "  --quiet             no progress; --no-html: no curves.html\n";
#endif
