/* Speaks HTTP itself, in C: answers each request with its path. */
#include <stdlib.h>
#include <string.h>

#include "hello_service.h"

static void write(wasi_io_streams_borrow_output_stream_t stream, uint8_t *bytes, size_t length) {
    wasi_io_streams_stream_error_t error;
    hello_service_list_u8_t part = {bytes, length};
    if (!wasi_io_streams_method_output_stream_blocking_write_and_flush(stream, &part, &error)) abort();
}

static void set_text(wasi_http_types_borrow_fields_t headers) {
    wasi_http_types_header_error_t error;
    hello_service_string_t name;
    hello_service_string_set(&name, "content-type");
    const char *type = "text/plain; charset=utf-8";
    wasi_http_types_field_value_t value = {(uint8_t *)type, strlen(type)};
    if (!wasi_http_types_method_fields_append(headers, &name, &value, &error)) abort();
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t request,
    exports_wasi_http_incoming_handler_own_response_outparam_t answer) {
    hello_service_string_t path = {(uint8_t *)"/", 1};
    wasi_http_types_method_incoming_request_path_with_query(wasi_http_types_borrow_incoming_request(request), &path);

    wasi_http_types_own_fields_t headers = wasi_http_types_constructor_fields();
    set_text(wasi_http_types_borrow_fields(headers));
    wasi_http_types_result_own_outgoing_response_error_code_t result = {.is_err = false};
    result.val.ok = wasi_http_types_constructor_outgoing_response(headers);
    wasi_http_types_own_outgoing_body_t body;
    if (!wasi_http_types_method_outgoing_response_body(wasi_http_types_borrow_outgoing_response(result.val.ok), &body))
        abort();
    wasi_http_types_static_response_outparam_set(answer, &result);

    wasi_io_streams_own_output_stream_t stream;
    if (!wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream)) abort();
    wasi_io_streams_borrow_output_stream_t to = wasi_io_streams_borrow_output_stream(stream);
    const char *hello = "Hello from C at ";
    write(to, (uint8_t *)hello, strlen(hello));
    write(to, path.ptr, path.len);
    write(to, (uint8_t *)"\n", 1);
    wasi_io_streams_output_stream_drop_own(stream);
    wasi_http_types_error_code_t error;
    if (!wasi_http_types_static_outgoing_body_finish(body, NULL, &error)) abort();
}
