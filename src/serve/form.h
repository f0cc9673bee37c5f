/* form.h - one field of a form with files (multipart/form-data, RFC 7578) without reading all of
 * it.  Private to the folder.  Pure. */
#ifndef FORM_H
#define FORM_H

#include "dgo_base.h"

enum {
    FORM_BOUNDARY_MAX = 70,   /* RFC 2046, 5.1.1 */
    FORM_HEAD_MAX = 8 * 1024, /* of one part */
    FORM_PARTS_MAX = 128,
    FORM_TYPE_MAX = FORM_BOUNDARY_MAX + 40,
};

/* Whether a Content-Type says that the body is such a form. */
bool form_is(const char *type);

/* Its boundary, without quotes.  DGO_EUSAGE: there is none, there are two, or it has characters
 * that a boundary may not have. */
DGO_MUST_CHECK
enum dgo_status form_boundary(const char *type, char boundary[FORM_BOUNDARY_MAX + 1],
                              struct dgo_error *err);

/* The value of the first field `name` that is no file, if it is UTF-8 without a NUL that fits
 * `value`.  What comes behind it is the engine's to judge.  DGO_ENOTFOUND: the form has no such
 * field; DGO_EFORMAT: not such a form, or it ends in the middle; DGO_ELIMIT: too long, or more
 * parts than FORM_PARTS_MAX before it. */
DGO_MUST_CHECK
enum dgo_status form_text(const char *body, size_t length, const char *boundary, const char *name,
                          char *value, size_t value_size, struct dgo_error *err);

/* The Content-Type that names `boundary`, as form_boundary gave it. */
void form_type_text(const char *boundary, char text[FORM_TYPE_MAX]);

#endif
