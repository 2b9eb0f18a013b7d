// Package export_app_service_greeter is {{name}}: a service in Go.
package export_app_service_greeter

import "go.bytecodealliance.org/pkg/wit/types"

func Hello(name wit_types.Option[string]) string {
	who := "world"
	if name.IsSome() {
		who = name.Some()
	}
	return "Hello, " + who + "!\n"
}
