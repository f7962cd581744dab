
BlogitsJ(М№ъА$v0АK’А¶тU>b!IБzь‚А—&ЈБЃ$nAвдБ€иt>