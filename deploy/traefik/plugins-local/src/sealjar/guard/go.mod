module sealjar/guard

go 1.21
