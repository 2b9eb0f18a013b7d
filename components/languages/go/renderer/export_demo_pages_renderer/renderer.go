// Package export_demo_pages_renderer is the renderer in Go: a line of text as a picture.
package export_demo_pages_renderer

import "strings"

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;")

func Render(text string) []uint8 {
	const head = `<svg xmlns="http://www.w3.org/2000/svg" height="24"><text y="18">`
	return []uint8(head + escape.Replace(text) + "</text></svg>")
}
