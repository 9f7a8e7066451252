module sealjar/strip

go 1.21
