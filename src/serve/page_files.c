/* page_files.c - no page is in this build: serve it with --web DIR. */
#include "page.h"

const struct page_file page_files[] = {{NULL, NULL, NULL, false, NULL, 0}};
