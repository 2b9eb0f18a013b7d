/* The renderer in C: a line of text as a picture. */
#include <stdlib.h>
#include <string.h>

#include "renderer_service.h"

#define HEAD "<svg xmlns=\"http://www.w3.org/2000/svg\" height=\"24\"><text y=\"18\">"
#define TAIL "</text></svg>"

static size_t append(uint8_t *to, const char *what) {
    size_t length = strlen(what);
    memcpy(to, what, length);
    return length;
}

/* What the host gave is ours to free, and what we return must come from malloc: the host has it freed. */
void exports_demo_pages_renderer_render(renderer_service_string_t *text, renderer_service_list_u8_t *svg) {
    /* An `&` becomes the longest thing that one byte becomes. */
    svg->ptr = malloc(strlen(HEAD) + text->len * strlen("&amp;") + strlen(TAIL));
    if (svg->ptr == NULL) abort();
    size_t length = append(svg->ptr, HEAD);
    for (size_t at = 0; at < text->len; at++) {
        switch (text->ptr[at]) {
        case '&': length += append(svg->ptr + length, "&amp;"); break;
        case '<': length += append(svg->ptr + length, "&lt;"); break;
        default: svg->ptr[length++] = text->ptr[at];
        }
    }
    svg->len = length + append(svg->ptr + length, TAIL);
    renderer_service_string_free(text);
}
