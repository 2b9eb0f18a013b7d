/* {{name}}: a service in C. */
#include <stdlib.h>
#include <string.h>

#include "service.h"

/* A parameter that may be absent is NULL then. What is returned must come from malloc: the host has it freed. */
void exports_app_service_greeter_hello(service_string_t *name, service_string_t *greeting) {
    const char *before = "Hello, ", *after = "!\n";
    service_string_t world = {(uint8_t *)"world", 5};
    if (name == NULL) name = &world;
    greeting->len = strlen(before) + name->len + strlen(after);
    greeting->ptr = malloc(greeting->len);
    if (greeting->ptr == NULL) abort();
    memcpy(greeting->ptr, before, strlen(before));
    memcpy(greeting->ptr + strlen(before), name->ptr, name->len);
    memcpy(greeting->ptr + strlen(before) + name->len, after, strlen(after));
}
