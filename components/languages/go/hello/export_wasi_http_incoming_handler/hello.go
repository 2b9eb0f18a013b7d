// Package export_wasi_http_incoming_handler speaks HTTP itself, in Go: it answers each request with its path.
package export_wasi_http_incoming_handler

import (
	"wit_component/wasi_http_types"

	"go.bytecodealliance.org/pkg/wit/types"
)

func Handle(request *wasi_http_types.IncomingRequest, answer *wasi_http_types.ResponseOutparam) {
	path := "/"
	if given := request.PathWithQuery(); given.IsSome() {
		path = given.Some()
	}
	headers := wasi_http_types.MakeFields()
	headers.Append("content-type", []uint8("text/plain; charset=utf-8"))
	response := wasi_http_types.MakeOutgoingResponse(headers)
	body := response.Body().Ok()
	wasi_http_types.ResponseOutparamSet(answer,
		wit_types.Ok[*wasi_http_types.OutgoingResponse, wasi_http_types.ErrorCode](response))
	stream := body.Write().Ok()
	stream.BlockingWriteAndFlush([]uint8("Hello from Go at " + path + "\n")).Ok()
	stream.Drop()
	wasi_http_types.OutgoingBodyFinish(body, wit_types.None[*wasi_http_types.Fields]()).Ok()
}
