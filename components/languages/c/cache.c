/* The cache in C: has each line drawn once, wherever the renderer runs. */
#include <stdlib.h>
#include <string.h>

#include "cache_service.h"

static const cache_service_list_u8_t *find(
    const cache_service_list_string_t *lines, const cache_service_list_u8_t *pictures, size_t before) {
    const cache_service_string_t *line = &lines->ptr[before];
    for (size_t at = 0; at < before; at++) {
        const cache_service_string_t *other = &lines->ptr[at];
        if (other->len == line->len && memcmp(other->ptr, line->ptr, line->len) == 0) return &pictures[at];
    }
    return NULL;
}

/* True for a result, false for an error. */
bool exports_demo_pages_cache_show(
    cache_service_list_string_t *lines, exports_demo_pages_cache_page_t *page, cache_service_string_t *error) {
    if (lines->len == 0) {
        cache_service_string_dup(error, "there are no lines");
        return false;
    }
    cache_service_list_u8_t *pictures = calloc(lines->len, sizeof *pictures);
    if (pictures == NULL) abort();
    memset(page, 0, sizeof *page);
    for (size_t at = 0; at < lines->len; at++) {
        const cache_service_list_u8_t *known = find(lines, pictures, at);
        if (known != NULL) {
            pictures[at] = *known;
            page->kept++;
        } else {
            /* A call of another component: its node may be another one, and so may ours be afterwards. */
            demo_pages_renderer_render(&lines->ptr[at], &pictures[at]);
            page->drawn++;
        }
        page->svg.len += pictures[at].len;
    }
    page->svg.ptr = malloc(page->svg.len);
    if (page->svg.ptr == NULL) abort();
    size_t length = 0;
    for (size_t at = 0; at < lines->len; at++) {
        memcpy(page->svg.ptr + length, pictures[at].ptr, pictures[at].len);
        length += pictures[at].len;
    }
    /* Pictures and lines go with the instance, which serves one call. */
    return true;
}
