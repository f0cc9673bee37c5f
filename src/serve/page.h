/* page.h - the page's files as they are in the program.  Private to the folder.
 *
 * tools/embed.py writes the table at build time from the files in web/. */
#ifndef PAGE_H
#define PAGE_H

#include <stdbool.h>
#include <stddef.h>

struct page_file {
    const char *path; /* "/app.js"; "/index.html" is "/" too */
    const char *type; /* "text/javascript; charset=utf-8" */
    const char *etag; /* of the content, with its quotes */
    bool gzipped;
    const unsigned char *bytes;
    size_t length;
};
/* Ends with a NULL path. */
extern const struct page_file page_files[];

#endif
