/* peek.h - one text of a JSON object without reading all of it.  Private to the folder.  Pure. */
#ifndef PEEK_H
#define PEEK_H

#include "dgo_base.h"

/* The value of the first member `key` of the object that `text` is, if it is a string that fits
 * `value`.  A request with an image in it has megabytes; building a tree to find one name would
 * stop the loop for a tenth of a second.  The engine judges the rest.  DGO_ENOTFOUND: there is no
 * such member; DGO_EFORMAT: not an object, or no string; DGO_ELIMIT: too long. */
DGO_MUST_CHECK
enum dgo_status peek_text(const char *text, size_t length, const char *key, char *value,
                          size_t value_size, struct dgo_error *err);

#endif
